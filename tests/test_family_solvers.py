"""Every family under every solver that can converge on it, and what is said where one does not."""

from __future__ import annotations

import pytest
import torch
from rnri_core.inversion.inversion import sample
from rnri_core.inversion.presets import invert
from rnri_core.sampling.steps import Denoiser, Schedule
from rnri_core.solvers import SOLVERS, solver

from rnri import Status, models
from rnri.models import ModelAdapter
from tests import tiny_families
from tests.tiny_families import CASES

PROMPT = "a red ball on sand"
CONVERGE = (
    "fixed-point",
    "averaged",
    "anderson",
    "barzilai-borwein",
    "renoise",
    "gradient",
    "broyden",
    "newton-krylov",
)
"""On every contraction; others take one step, or solve a scalar equation, or need steps made for the network."""
TOL = 1e-3


def drawn(model: ModelAdapter) -> tuple[Denoiser, Schedule, torch.Tensor]:
    """What the model draws in two steps, with how it was drawn."""
    side = max(16, 2 * model.multiple)
    shape = model.latent_shape((side, side))
    schedule = model.schedule(2, generator=torch.Generator().manual_seed(7), shape=shape)
    denoiser = model.denoiser(model.embed([PROMPT]))
    noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    return denoiser, schedule, sample(denoiser, schedule, noise)


@pytest.mark.parametrize("name", [name for name in CASES if name != "lcm"])
def test_solvers_that_converge_give_the_latent_back(name: str) -> None:
    denoiser, schedule, clean = drawn(models.from_pipe(tiny_families.build(name)))
    for method in CONVERGE:
        found = invert(denoiser, schedule, clean, solver(method), iterations=60, tol=TOL)
        assert {each.status for each in found.solutions} == {(Status.CONVERGED,)}, method
        assert found.residual.max() <= TOL, method
        again = sample(denoiser, schedule, found.noise)
        assert ((again - clean).norm() / clean.norm()).item() < 20 * TOL, method


@pytest.mark.parametrize(("name", "layer"), [("sd", "unet.conv_out"), ("flux-dev", "transformer.proj_out")])
def test_where_the_network_expands_that_is_said_and_corrected(name: str, layer: str) -> None:
    pipe = tiny_families.build(name)
    part, last = layer.split(".")
    getattr(getattr(pipe, part), last).weight.data.mul_(300.0)
    denoiser, schedule, like = drawn(models.from_pipe(pipe))
    clean = torch.randn(like.shape, generator=torch.Generator().manual_seed(1))
    said: set[Status] = set()
    for method in SOLVERS:
        found = invert(denoiser, schedule, clean, solver(method), iterations=8, tol=TOL, noise_maps=True)
        for each in found.solutions:
            assert (each.status == (Status.CONVERGED,)) == (each.residual.item() <= TOL), method
            said |= set(each.status)
        again = sample(denoiser, schedule, found.noise, noise_maps=found.noise_maps)
        assert ((again - clean).norm() / clean.norm()).item() < 1e-3, method
    assert said >= {Status.MAX_ITER, Status.DIVERGED}
