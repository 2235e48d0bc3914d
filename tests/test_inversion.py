"""There and back: inversion along a schedule, its file, and sampling again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from rnri_core.errors import RnriError
from rnri_core.inversion.edit_friendly import EditFriendly
from rnri_core.inversion.inversion import Inversion, Trajectory, sample, stacked
from rnri_core.inversion.presets import invert
from rnri_core.sampling.schedules import euler_ancestral, flow
from rnri_core.sampling.steps import Schedule
from rnri_core.solvers import SOLVERS, solver
from rnri_core.solvers.equation import norm
from rnri_core.solvers.solve import Status
from torch import Tensor

from tests.problems import gaussian_denoiser, gaussian_schedule, normal

SHAPE = (2, 3, 4, 4)
CLEAN = 0.5 * normal(*SHAPE, seed=1, dtype=torch.float32)
STEPS = gaussian_schedule()


def curved(z: Tensor, t: float) -> Tensor:
    """A network that is not linear, image by image."""
    return gaussian_denoiser(z, t) + 0.1 * z.tanh()


def ancestral() -> Schedule:
    generator = torch.Generator().manual_seed(0)
    return euler_ancestral([14.0, 4.0, 1.6, 0.7, 0.0], [999, 749, 499, 249], shape=SHAPE[1:], generator=generator)


def same(a: Inversion, b: Inversion) -> None:
    """Equal to the last bit."""
    for x, y in zip(a.latents, b.latents, strict=True):
        assert torch.equal(x, y)
    for p, q in zip(a.schedule, b.schedule, strict=True):
        numbers = [(s.t, s.a, s.b, s.scale, s.levels, s.effective, s.dense) for s in (p, q)]
        assert numbers[0] == numbers[1]
        assert (p.c is None) == (q.c is None)
        assert p.c is None or q.c is None or torch.equal(p.c, q.c)
    for m, n in zip(a.solutions, b.solutions, strict=True):
        assert (m.status, m.nfe, m.njvp, m.nvjp) == (n.status, n.nfe, n.njvp, n.nvjp)
        assert torch.equal(m.z, n.z)
        assert torch.equal(m.residuals, n.residuals)
        assert torch.equal(m.residual, n.residual)
    assert (a.noise_maps is None) == (b.noise_maps is None)
    for x, y in zip(a.noise_maps or (), b.noise_maps or (), strict=True):
        assert torch.equal(x, y)
    assert a.provenance == b.provenance
    assert len(a.solutions) == len(b.solutions)


@pytest.mark.parametrize("schedule", [STEPS, ancestral(), flow([0.9, 0.5, 0.2, 0.0], [900, 500, 200])])
def test_a_converged_inversion_samples_back(schedule: Schedule) -> None:
    m = (lambda z, t: 0.3 * z.tanh()) if schedule is not STEPS else curved
    inversion = invert(m, schedule, CLEAN.double(), solver("newton-krylov"), iterations=30, tol=1e-12)
    assert all(set(solution.status) == {Status.CONVERGED} for solution in inversion.solutions)
    assert inversion.residual.shape == (len(schedule), SHAPE[0])
    torch.testing.assert_close(sample(m, schedule, inversion.noise), CLEAN.double(), rtol=1e-8, atol=1e-8)


def test_explicit_inversion_is_one_evaluation_at_each_known_point() -> None:
    z = CLEAN
    by_hand = [z]
    for step in reversed(STEPS):
        z = (z - step.b * curved(z, step.t)) / step.a
        by_hand.append(z)
    inversion = invert(curved, STEPS, CLEAN, solver("explicit"))
    for ours, theirs in zip(inversion.latents, reversed(by_hand), strict=True):
        assert torch.equal(ours, theirs)
    assert inversion.nfe == len(STEPS)


def test_indices_are_the_schedules() -> None:
    inversion = invert(curved, STEPS, CLEAN, solver("fixed-point"), iterations=3, noise_maps=True)
    assert inversion.noise_maps is not None
    assert torch.equal(inversion.clean, CLEAN)
    for k, step in enumerate(STEPS):
        delta = inversion.latents[k + 1] - step.denoise(curved, inversion.latents[k])
        assert torch.equal(inversion.noise_maps[k], delta)
        assert torch.equal(inversion.solutions[k].z, inversion.latents[k])
        torch.testing.assert_close(
            inversion.residual[k], step.residual(curved, inversion.latents[k], inversion.latents[k + 1])
        )


@pytest.mark.parametrize("name", SOLVERS)
def test_noise_maps_make_up_for_any_solver(name: str) -> None:
    inversion = invert(curved, STEPS, CLEAN, solver(name), iterations=2, noise_maps=True)
    again = sample(curved, STEPS, inversion.noise, noise_maps=inversion.noise_maps)
    # each step rounds a few times at the size of the latents, and the network may stretch that by its slope
    torch.testing.assert_close(again, CLEAN, rtol=0, atol=100 * torch.finfo(torch.float32).eps)
    assert inversion.nfe == sum(solution.nfe for solution in inversion.solutions) + len(STEPS)


@pytest.mark.parametrize(
    "options", [{}, {"init": "predicted"}, {"init": "noised"}, {"noise_maps": True}, {"tol": 1e-3}]
)
@pytest.mark.parametrize("name", ["fixed-point", "chebyshev", "anderson", "gnri"])
def test_a_batch_equals_one_by_one(name: str, options: dict[str, Any]) -> None:
    together = invert(curved, STEPS, CLEAN, solver(name), iterations=4, **options)
    for k in range(len(CLEAN)):
        alone = invert(curved, STEPS, CLEAN[k : k + 1], solver(name), iterations=4, **options)
        for x, y in zip(together.latents, alone.latents, strict=True):
            assert torch.equal(x[k : k + 1], y)


def test_a_plan_is_read_from_the_image_outwards() -> None:
    inversion = invert(curved, STEPS, CLEAN, solver("fixed-point"), iterations=(5, 2, 1))
    assert [solution.nfe for solution in inversion.solutions] == [1, 1, 2, 5]
    assert inversion.nfe == 9
    assert invert(curved, STEPS[-1:], CLEAN, solver("fixed-point"), iterations=(5, 1)).nfe == 5


@pytest.mark.parametrize("iterations", [0, (), (3, 0), -1])
def test_an_empty_budget_is_refused(iterations: Any) -> None:
    with pytest.raises(ValueError, match="leave a step without any"):
        invert(curved, STEPS, CLEAN, solver("explicit"), iterations=iterations)


def test_the_predictor_is_exact_when_the_output_does_not_change() -> None:
    output = normal(*SHAPE, seed=2, dtype=torch.float32)
    plain, predicted = (
        invert(lambda z, t: output, STEPS, CLEAN, solver("fixed-point"), iterations=1, init=init)
        for init in ("clean", "predicted")
    )
    assert (plain.residual[:-1] > 1e-2).all()
    assert (predicted.residual[:-1] < 1e-5).all()
    assert plain.nfe == predicted.nfe


def test_the_noised_start_is_in_distribution() -> None:
    """One noise for all images, of the level of the noisy end; drawn from its seed alone."""
    seen: list[Tensor] = []

    def watched(z: Tensor, t: float) -> Tensor:
        seen.append(z)
        return curved(z, t)

    clean, state = normal(2, 4, 64, 64, seed=3, dtype=torch.float32), torch.get_rng_state()
    invert(watched, STEPS[-1:], clean, solver("explicit"), init="noised", seed=5)
    invert(watched, STEPS[-1:], clean, solver("explicit"), init="noised", seed=5)
    invert(watched, STEPS[-1:], clean, solver("explicit"), init="noised", seed=6)
    alpha, sigma, _, _ = STEPS[-1].levels
    noise = (seen[0] - alpha * clean) / sigma
    assert noise.std().item() == pytest.approx(1.0, abs=0.03)
    torch.testing.assert_close(noise[0], noise[1], rtol=1e-4, atol=1e-4)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert torch.equal(state, torch.get_rng_state())


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(ValueError, match="init='warm' is not one of clean, noised, predicted, noised-predicted"):
        invert(curved, STEPS, CLEAN, solver("explicit"), init="warm")


def test_inverting_is_pure_and_in_float32() -> None:
    clean = CLEAN.bfloat16().requires_grad_()
    before = clean.detach().clone()
    inversion = invert(curved, STEPS, clean, solver("gnri"), iterations=2)
    assert torch.equal(clean.detach(), before)
    assert all(z.dtype == torch.float32 and not z.requires_grad for z in inversion.latents)


def test_sampling_blends_after_each_step() -> None:
    seen: list[int] = []

    def blend(k: int, z: Tensor) -> Tensor:
        seen.append(k)
        return torch.full_like(z, float(k))

    assert torch.equal(sample(curved, STEPS, CLEAN, callback=blend), torch.full_like(CLEAN, 3.0))
    assert seen == [0, 1, 2, 3]


def test_norm_of_noise_maps_is_the_residual() -> None:
    inversion = invert(curved, STEPS, CLEAN, solver("explicit"), noise_maps=True)
    assert inversion.noise_maps is not None
    expected = norm(inversion.noise_maps[0]) / norm(inversion.latents[1])
    torch.testing.assert_close(inversion.residual[0], expected.flatten())


def test_latents_of_a_trajectory_are_both_ends_of_every_step() -> None:
    inversion = invert(curved, STEPS, CLEAN, solver("fixed-point"), noise_maps=True)
    way = inversion.trajectory
    assert way.noise_maps is not None
    for k, (step, noise_map) in enumerate(zip(way.schedule, way.noise_maps, strict=True)):
        torch.testing.assert_close(way.latents[k + 1], step.denoise(curved, way.latents[k]) + noise_map)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latents": (CLEAN,) * 4}, "4 latents are not both ends of 4 steps"),
        ({"schedule": (), "latents": (CLEAN,)}, "1 latents are not both ends of 0 steps"),
        ({"noise_maps": (CLEAN,) * 3}, "3 noise maps are not one for each of 4 steps"),
        ({"latents": (*(CLEAN,) * 4, CLEAN[:1])}, r"latents of one trajectory have one shape, not \[\(1, 3, 4, 4\), "),
        ({"noise_maps": (CLEAN[:1],) * 4}, "latents of one trajectory have one shape"),
    ],
)
def test_a_trajectory_that_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    whole = Trajectory(STEPS, (CLEAN,) * 5, (CLEAN,) * 4)
    with pytest.raises(RnriError, match=message):
        replace(whole, **changes)


def test_solutions_are_one_for_each_step_or_none() -> None:
    inversion = invert(curved, STEPS, CLEAN, solver("explicit"))
    with pytest.raises(RnriError, match="3 solutions are not one for each of 4 steps"):
        replace(inversion, solutions=inversion.solutions[1:])
    with pytest.raises(RnriError, match="solutions are of an inversion that solves equations"):
        inversion.described(solved=False)
    unsolved = replace(inversion, solutions=())
    assert inversion.solved
    assert unsolved.solved  # the noise is the same
    assert not EditFriendly().invert(curved, STEPS, CLEAN).solved
    assert (unsolved.nfe, unsolved.calls, unsolved.status) == (0, 0, Status.NOT_SOLVED)


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("noise_maps", [False, True])
def test_the_last_steps_are_the_inversion_of_these_alone(steps: int, noise_maps: bool) -> None:
    """Bits are those of an inversion along the end of the schedule, as steps are solved from the image outwards."""
    options: dict[str, Any] = {"iterations": 3, "noise_maps": noise_maps}
    whole = invert(curved, STEPS, CLEAN, solver("anderson"), **options)
    same(whole.last(steps), invert(curved, STEPS[-steps:], CLEAN, solver("anderson"), **options))


@pytest.mark.parametrize("steps", [0, 5, -1])
def test_no_more_steps_are_taken_than_there_are(steps: int) -> None:
    with pytest.raises(RnriError, match=f"steps={steps} is out of range: give 1 to 4") as error:
        invert(curved, STEPS, CLEAN, solver("explicit")).last(steps)
    assert error.value.field == "steps"


@pytest.mark.parametrize("noise_maps", [False, True])
def test_a_row_is_the_inversion_of_that_image_and_stacked_rows_are_the_batch(noise_maps: bool) -> None:
    options: dict[str, Any] = {"iterations": 3, "noise_maps": noise_maps, "tol": 1e-3}
    together = invert(curved, STEPS, CLEAN, solver("anderson"), **options)
    rows = [together.row(k) for k in range(len(CLEAN))]
    for k, row in enumerate(rows):
        alone = invert(curved, STEPS, CLEAN[k : k + 1], solver("anderson"), **options)
        assert torch.equal(row.noise, alone.noise)
        assert torch.equal(row.residual, alone.residual)
        assert row.status == alone.status
    same(stacked(rows), replace(together, solutions=()))
    assert stacked(rows).residual.isnan().all() != noise_maps


@pytest.mark.parametrize("index", [-1, 2])
def test_no_row_is_taken_that_is_none_of_the_batch(index: int) -> None:
    with pytest.raises(RnriError, match=f"index={index} is out of range: give 0 to 1") as error:
        invert(curved, STEPS, CLEAN, solver("explicit")).row(index)
    assert error.value.field == "index"


def test_inversions_that_are_not_alike_make_no_batch() -> None:
    whole = invert(curved, STEPS, CLEAN, solver("explicit"), noise_maps=True)
    plain = replace(whole, trajectory=replace(whole.trajectory, noise_maps=None))
    shifted = replace(whole, trajectory=replace(whole.trajectory, schedule=(*STEPS[:3], replace(STEPS[3], t=250.0))))
    for first, second in ((whole, plain), (plain, whole), (whole, shifted)):
        with pytest.raises(RnriError, match="make no batch"):
            stacked([first, second])


def test_what_is_described_is_the_same_trajectory() -> None:
    inversion = invert(curved, STEPS, CLEAN, solver("explicit"), seed=4)
    described = inversion.described(prompt="a ball", size=(3, 2))
    assert described.trajectory is inversion.trajectory
    assert described.solutions is inversion.solutions
    assert (described.prompt, described.size, described.seed) == ("a ball", (3, 2), 4)
    assert (inversion.prompt, inversion.size) == ("", None)
    with pytest.raises(TypeError, match="colour"):
        inversion.described(colour="red")
