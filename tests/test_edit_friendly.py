"""Edit-friendly noise maps: latents drawn, not solved for, and a sampler that visits them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rnri_core.inversion.edit_friendly import EditFriendly
from rnri_core.sampling.schedules import euler, euler_ancestral, flow
from rnri_core.sampling.steps import Schedule
from rnri_core.solvers.solve import Status
from torch import Tensor

from rnri import Inversion, sample
from tests.problems import gaussian_schedule, normal

SHAPE = (2, 4, 16, 16)
SIGMAS, TIMESTEPS = [14.6, 4.1, 1.6, 0.0], [999, 749, 499]
SCHEDULES: dict[str, Schedule] = {
    "ddim": gaussian_schedule(),
    "euler": euler(SIGMAS, TIMESTEPS),
    "euler ancestral": euler_ancestral(SIGMAS, TIMESTEPS, shape=SHAPE[1:], generator=torch.Generator().manual_seed(0)),
    "flow": flow([1.0, 0.75, 0.5, 0.25, 0.0], [1000, 750, 500, 250]),
}


def network(z: Tensor, t: float) -> Tensor:
    return 0.5 * z.tanh()


@pytest.mark.parametrize("name", SCHEDULES)
def test_sampling_gives_the_picture_back(name: str) -> None:
    clean = normal(*SHAPE, seed=1)
    inversion = EditFriendly().invert(network, SCHEDULES[name], clean)
    again = sample(network, inversion.schedule, inversion.noise, noise_maps=inversion.noise_maps)
    torch.testing.assert_close(again, clean)
    assert (inversion.nfe, inversion.calls) == (len(SCHEDULES[name]),) * 2
    assert (inversion.solved, inversion.solutions, inversion.status) == (False, (), Status.NOT_SOLVED)
    assert inversion.residual.shape == (len(SCHEDULES[name]), 2)


@pytest.mark.parametrize("name", SCHEDULES)
def test_latents_are_independent_draws_at_their_levels(name: str) -> None:
    inversion = EditFriendly().invert(network, SCHEDULES[name], torch.zeros(*SHAPE, dtype=torch.float64))
    noises = torch.stack(
        [z[0].flatten() / step.levels[1] for step, z in zip(inversion.schedule, inversion.latents, strict=False)]
    )
    torch.testing.assert_close(noises.std(1), torch.ones(len(noises)).double(), atol=0.1, rtol=0)
    assert (torch.corrcoef(noises) - torch.eye(len(noises))).abs().max() < 0.15


def test_noise_maps_of_a_perfect_network_are_as_large_as_the_samplers_noise() -> None:
    """σ_up² = σ′² − σ_down², of which independence between steps makes more: (σ_down/σ)² σ² too."""
    clean = 0.5 * normal(*SHAPE, seed=2)
    schedule = euler(SIGMAS, TIMESTEPS)

    def exact(z: Tensor, t: float) -> Tensor:
        sigma = SIGMAS[TIMESTEPS.index(int(t))]
        output: Tensor = z * (sigma**2 + 1) ** 0.5 / sigma - clean / sigma  # the noise in z
        return output

    inversion = EditFriendly().invert(exact, schedule, clean)
    assert inversion.noise_maps is not None
    for step, delta, end in zip(inversion.schedule, inversion.noise_maps, SIGMAS[1:], strict=True):
        assert delta.std().item() == pytest.approx((end**2 + step.levels[3] ** 2) ** 0.5, rel=0.1, abs=1e-6)


def test_another_seed_gives_other_noise_and_a_batch_is_one_by_one() -> None:
    clean = normal(*SHAPE, seed=3, dtype=torch.float32)
    inversion, other = (EditFriendly().invert(network, gaussian_schedule(), clean, seed=seed) for seed in (0, 1))
    assert not torch.equal(inversion.noise, other.noise)
    for k in range(2):
        alone = EditFriendly().invert(network, gaussian_schedule(), clean[k : k + 1])
        assert torch.equal(inversion.noise[k : k + 1], alone.noise)
        assert torch.equal(inversion.residual[:, k : k + 1], alone.residual)


def test_it_is_an_inversion_like_any_other(tmp_path: Path) -> None:
    inversion = EditFriendly().invert(network, gaussian_schedule(), normal(*SHAPE, seed=4, dtype=torch.float32))
    inversion.save(tmp_path / "inversion.safetensors")
    loaded = Inversion.load(tmp_path / "inversion.safetensors")
    again = sample(network, loaded.schedule, loaded.noise, noise_maps=loaded.noise_maps)
    assert torch.equal(again, sample(network, inversion.schedule, inversion.noise, noise_maps=inversion.noise_maps))


def test_a_network_that_fails_is_reported() -> None:
    inversion = EditFriendly().invert(lambda z, t: z * float("nan"), gaussian_schedule(), torch.ones(1, 3))
    assert inversion.status == Status.DIVERGED
