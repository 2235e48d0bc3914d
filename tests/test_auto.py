"""The default on the embedded models: the calls it takes, and that what it inverts is reconstructed.

How its edits compare with those of other solvers is measured by `rnri bench convergence`, see
docs/choosing-a-solver.md.
"""

from __future__ import annotations

import pytest

from rnri import models
from rnri.evaluation.solvers.convergence import Convergence, grid


@pytest.mark.parametrize(("name", "steps", "calls"), [("scenes-turbo", 4, 8), ("scenes", 20, 20)])
def test_reconstruction_is_within_a_twentieth_of_a_decibel_of_the_autoencoder(
    name: str, steps: int, calls: int
) -> None:
    model = {name: models.load(name, device="cpu")}
    [one] = grid(model, steps=[steps], budgets=[2], solvers=["auto"], ways=["informed"], split="tuning")
    found = Convergence(model, 2)(one, [0, 1])
    assert {each.cost.calls for each in found} == {calls}
    assert min(each.psnr_db - each.bound_db for each in found) > -0.05
