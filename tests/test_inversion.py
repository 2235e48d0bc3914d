"""There and back: inversion along a schedule, its file, and sampling again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from rnri_core.inversion.inversion import Inversion, invert, sample
from rnri_core.sampling.steps import Schedule, euler_ancestral, flow
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
    assert (a.prompt, a.model, a.size, a.guidance, a.seed) == (b.prompt, b.model, b.size, b.guidance, b.seed)


@pytest.mark.parametrize("schedule", [STEPS, ancestral(), flow([0.9, 0.5, 0.2, 0.0], [900, 500, 200])])
def test_a_converged_inversion_samples_back(schedule: Schedule) -> None:
    m = (lambda z, t: 0.3 * z.tanh()) if schedule is not STEPS else curved
    inversion = invert(m, schedule, CLEAN.double(), solver("newton-krylov"), budget=30, tol=1e-12)
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
    inversion = invert(curved, STEPS, CLEAN, solver("fixed-point"), budget=3, correct=True)
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
def test_corrections_make_up_for_any_solver(name: str) -> None:
    inversion = invert(curved, STEPS, CLEAN, solver(name), budget=2, correct=True)
    again = sample(curved, STEPS, inversion.noise, noise_maps=inversion.noise_maps)
    # each step rounds a few times at the size of the latents, and the network may stretch that by its slope
    torch.testing.assert_close(again, CLEAN, rtol=0, atol=100 * torch.finfo(torch.float32).eps)
    assert inversion.nfe == sum(solution.nfe for solution in inversion.solutions) + len(STEPS)


@pytest.mark.parametrize("options", [{}, {"predictor": True}, {"start": "noised"}, {"correct": True}, {"tol": 1e-3}])
@pytest.mark.parametrize("name", ["fixed-point", "chebyshev", "anderson", "gnri"])
def test_a_batch_equals_one_by_one(name: str, options: dict[str, Any]) -> None:
    together = invert(curved, STEPS, CLEAN, solver(name), budget=4, **options)
    for k in range(len(CLEAN)):
        alone = invert(curved, STEPS, CLEAN[k : k + 1], solver(name), budget=4, **options)
        for x, y in zip(together.latents, alone.latents, strict=True):
            assert torch.equal(x[k : k + 1], y)


def test_a_plan_is_read_from_the_image_outwards() -> None:
    inversion = invert(curved, STEPS, CLEAN, solver("fixed-point"), budget=(5, 2, 1))
    assert [solution.nfe for solution in inversion.solutions] == [1, 1, 2, 5]
    assert inversion.nfe == 9
    assert invert(curved, STEPS[-1:], CLEAN, solver("fixed-point"), budget=(5, 1)).nfe == 5


@pytest.mark.parametrize("budget", [0, (), (3, 0), -1])
def test_an_empty_budget_is_refused(budget: Any) -> None:
    with pytest.raises(ValueError, match="leaves a step without iterations"):
        invert(curved, STEPS, CLEAN, solver("explicit"), budget=budget)


def test_the_predictor_is_exact_when_the_output_does_not_change() -> None:
    output = normal(*SHAPE, seed=2, dtype=torch.float32)
    options: dict[str, Any] = {"budget": 1, "start": "clean"}
    plain, predicted = (
        invert(lambda z, t: output, STEPS, CLEAN, solver("fixed-point"), predictor=p, **options) for p in (False, True)
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
    invert(watched, STEPS[-1:], clean, solver("explicit"), start="noised", seed=5)
    invert(watched, STEPS[-1:], clean, solver("explicit"), start="noised", seed=5)
    invert(watched, STEPS[-1:], clean, solver("explicit"), start="noised", seed=6)
    alpha, sigma, _, _ = STEPS[-1].levels
    noise = (seen[0] - alpha * clean) / sigma
    assert noise.std().item() == pytest.approx(1.0, abs=0.03)
    torch.testing.assert_close(noise[0], noise[1], rtol=1e-4, atol=1e-4)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert torch.equal(state, torch.get_rng_state())


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(ValueError, match="start='warm' is not one of clean, noised"):
        invert(curved, STEPS, CLEAN, solver("explicit"), start="warm")  # type: ignore[arg-type]


def test_inverting_is_pure_and_in_float32() -> None:
    clean = CLEAN.bfloat16().requires_grad_()
    before = clean.detach().clone()
    inversion = invert(curved, STEPS, clean, solver("gnri"), budget=2)
    assert torch.equal(clean.detach(), before)
    assert all(z.dtype == torch.float32 and not z.requires_grad for z in inversion.latents)


def test_sampling_blends_after_each_step() -> None:
    seen: list[int] = []

    def blend(k: int, z: Tensor) -> Tensor:
        seen.append(k)
        return torch.full_like(z, float(k))

    assert torch.equal(sample(curved, STEPS, CLEAN, callback=blend), torch.full_like(CLEAN, 3.0))
    assert seen == [0, 1, 2, 3]


# The file


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("schedule", [STEPS, ancestral()])
def test_a_file_comes_back_to_the_same_bits(tmp_path: Path, schedule: Schedule, correct: bool) -> None:
    made = invert(curved, schedule, CLEAN, solver("gnri"), budget=(3, 2), correct=correct)
    described = Inversion(
        made.schedule, made.latents, made.solutions, made.noise_maps, "a ‘red’ ball", "9f3a", (640, 480), 1.5, 7
    )
    for inversion in (made, described):
        inversion.save(tmp_path / "x.safetensors")
        loaded = Inversion.load(tmp_path / "x.safetensors")
        same(inversion, loaded)
        assert torch.equal(sample(curved, loaded.schedule, loaded.noise), sample(curved, schedule, made.noise))
        first = (tmp_path / "x.safetensors").read_bytes()
        loaded.save(tmp_path / "y.safetensors")
        assert (tmp_path / "y.safetensors").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.safetensors", "y.safetensors"]


def stored(tmp_path: Path) -> Path:
    path = tmp_path / "whole.safetensors"
    invert(curved, STEPS, CLEAN, solver("explicit")).save(path)
    return path


def damaged(tmp_path: Path) -> dict[str, bytes]:
    whole = stored(tmp_path).read_bytes()
    tensors = safetensors.torch.load(whole)
    missing = {name: tensor for name, tensor in tensors.items() if name != "2.latents"}
    header = '{"format": "rnri inversion 1", "steps": [{"t": 1}]'
    return {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "header cut": whole[:20],
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "another safetensors file": safetensors.torch.save({"weight": torch.ones(2)}),
        "a later format": safetensors.torch.save(tensors, {"rnri": '{"format": "rnri inversion 2"}'}),
        "not json": safetensors.torch.save(tensors, {"rnri": header}),
        "not a record": safetensors.torch.save(tensors, {"rnri": "[]"}),
        "half a step": safetensors.torch.save(tensors, {"rnri": header.replace("]", "], ") + '"x": 1}'}),
        "tensor missing": safetensors.torch.save(missing, {"rnri": _header(whole)}),
    }


def _header(whole: bytes) -> str:
    import json

    size = int.from_bytes(whole[:8], "little")
    return json.loads(whole[8 : 8 + size])["__metadata__"]["rnri"]


@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "truncated",
        "header cut",
        "a picture",
        "another safetensors file",
        "a later format",
        "not json",
        "not a record",
        "half a step",
        "tensor missing",
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(damaged(tmp_path)[kind])
    with pytest.raises(ValueError, match=r"bad.safetensors cannot be read \(.+\); invert the image again") as error:
        Inversion.load(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_the_systems_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        Inversion.load(tmp_path / "none")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        invert(curved, STEPS, 2 * CLEAN, solver("explicit")).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_norm_of_corrections_is_the_residual() -> None:
    inversion = invert(curved, STEPS, CLEAN, solver("explicit"), correct=True)
    assert inversion.noise_maps is not None
    expected = norm(inversion.noise_maps[0]) / norm(inversion.latents[1])
    torch.testing.assert_close(inversion.residual[0], expected.flatten())
