"""Samplers on pairs of latents: the way back is exact, and the equations are those of the papers."""

from __future__ import annotations

import pytest
import torch
from rnri_core.inversion.coupled import Bdia, Coupled, Edict
from rnri_core.inversion.presets import invert
from rnri_core.registry import Source
from rnri_core.sampling.schedules import ddim, euler, euler_ancestral, flow
from rnri_core.sampling.steps import Schedule
from torch import Tensor

from tests.problems import ALPHAS_CUMPROD, normal

SHAPE = (2, 3, 4, 4)
SIGMAS, TIMESTEPS = [14.6, 4.1, 1.6, 0.0], [999, 749, 499]
VISITED = [999, 749, 499, 249]
COUPLED: dict[str, Edict | Bdia] = {"edict": Edict(), "bdia": Bdia()}
SCHEDULES: dict[str, Schedule] = {
    "ddim": ddim(ALPHAS_CUMPROD, VISITED),
    "ddim, v": ddim(ALPHAS_CUMPROD, VISITED, "v_prediction"),
    "ddim, 50 steps": ddim(ALPHAS_CUMPROD, [999 - 20 * k for k in range(50)]),
    "euler": euler(SIGMAS, TIMESTEPS),
    "flow": flow([1.0, 0.75, 0.5, 0.25, 0.0], [1000, 750, 500, 250]),
    "one step": flow([1.0, 0.0], [1000]),
}
ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-12}


class Network:
    """Saturating, so that nothing is exact by being linear; counts its calls."""

    calls = 0

    def __call__(self, z: Tensor, t: float) -> Tensor:
        self.calls += 1
        return (0.8 * z + t / 1000).tanh()


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", COUPLED)
def test_the_way_back_is_the_way_there(name: str, schedule: str, dtype: torch.dtype) -> None:
    clean, kind, steps = normal(*SHAPE, seed=1, dtype=dtype), COUPLED[name], SCHEDULES[schedule]
    inversion = kind.invert(Network(), steps, clean)
    again = inversion.sample(Network())
    assert again.dtype == dtype
    assert torch.equal(again, kind.sample(Network(), steps, inversion.pair))
    assert inversion.noise is inversion.pair[0]
    amplified = 0.93 ** (-2 * len(steps)) if name == "edict" else len(steps)
    assert (again - clean).norm() / clean.norm() < ROUNDING[dtype] * amplified


@pytest.mark.parametrize("name", COUPLED)
def test_another_prompt_gives_another_picture(name: str) -> None:
    clean, steps = normal(*SHAPE, seed=2), SCHEDULES["ddim"]
    edited = COUPLED[name].invert(Network(), steps, clean).sample(lambda z, t: Network()(z, t) + 0.1)
    assert (edited - clean).norm() > 1e-2 * clean.norm()


@pytest.mark.parametrize(("kind", "there", "back"), [(Edict(), 8, 8), (Bdia(), 4, 3)])
def test_calls_are_counted(kind: Coupled, there: int, back: int) -> None:
    network, steps = Network(), SCHEDULES["ddim"]
    inversion = kind.invert(network, steps, normal(*SHAPE, seed=3))
    assert inversion.nfe == network.calls == there
    inversion.sample(network)
    assert network.calls == there + back


def test_edict_takes_the_papers_steps() -> None:
    """Two steps as the authors' code has them: in the second y moves first, and both mix x first."""
    steps, m, p = SCHEDULES["ddim"][:2], Network(), 0.9
    x, y = normal(*SHAPE, seed=4), normal(*SHAPE, seed=5)
    first, second = steps
    x1 = first.a * x + first.b * m(y, first.t)
    y1 = first.a * y + first.b * m(x1, first.t)
    x2 = p * x1 + (1 - p) * y1
    y2 = p * y1 + (1 - p) * x2
    y3 = second.a * y2 + second.b * m(x2, second.t)
    x3 = second.a * x2 + second.b * m(y3, second.t)
    x4 = p * x3 + (1 - p) * y3
    torch.testing.assert_close(Edict(p).sample(m, steps, (x, y)), x4)


def test_edicts_inversion_is_the_authors_loop() -> None:
    """Their two loops over latents [x, y], from the noise and from the image, on a schedule of odd length."""
    steps, m, p = SCHEDULES["ddim"][:3], Network(), 0.93
    clean = normal(*SHAPE, seed=9)
    pair = [clean, clean]
    for i, step in enumerate(reversed(steps)):
        pair[1] = (pair[1] - (1 - p) * pair[0]) / p
        pair[0] = (pair[0] - (1 - p) * pair[1]) / p
        offset = (len(steps) - i) % 2
        for moved in ((0 + offset) % 2, (1 + offset) % 2):
            pair[moved] = step.inverse_step(pair[moved], m(pair[1 - moved], step.t))
    torch.testing.assert_close(Edict(p).invert(m, steps, clean).pair, tuple(pair))


def test_bdia_takes_the_papers_step() -> None:
    """z_{i−1} = z_{i+1} − (1 − γ)(z_{i+1} − z_i) − γ Δ(i → i+1 | z_i) + Δ(i → i−1 | z_i), Δ by DDIM from ε at z_i."""
    steps, m, gamma = SCHEDULES["ddim"][:2], Network(), 0.7
    noisy, z = normal(*SHAPE, seed=6), normal(*SHAPE, seed=7)
    alpha, sigma = steps[1].levels[:2]
    epsilon = m(z, steps[1].t)
    image = (z - sigma * epsilon) / alpha

    def move(levels: tuple[float, ...]) -> Tensor:
        return levels[0] * image + levels[1] * epsilon - z

    expected = noisy - (1 - gamma) * (noisy - z) - gamma * move(steps[0].levels[:2]) + move(steps[1].levels[2:])
    torch.testing.assert_close(Bdia(gamma).sample(m, steps, (noisy, z)), expected)


def test_bdia_refuses_what_adds_noise() -> None:
    noisy = euler_ancestral(SIGMAS, TIMESTEPS, shape=SHAPE[1:], generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="t=999 adds noise, which BDIA cannot invert: use a deterministic scheduler"):
        Bdia().invert(Network(), noisy, normal(*SHAPE, seed=8))
    clean = normal(*SHAPE, seed=8)
    torch.testing.assert_close(Edict().invert(Network(), noisy, clean).sample(Network()), clean)


@pytest.mark.parametrize("value", [0.0, 1.1, float("nan")])
def test_weights_are_shares(value: float) -> None:
    with pytest.raises(ValueError, match="mixing="):
        Edict(value)
    with pytest.raises(ValueError, match="weight="):
        Bdia(value)


def test_each_names_its_paper() -> None:
    assert all(isinstance(kind.source, Source) and "exact" in kind.source.title.lower() for kind in COUPLED.values())


@pytest.mark.parametrize(("spec", "kind"), [("edict:mixing=0.9", Edict(0.9)), ("bdia:weight=0.7", Bdia(0.7))])
def test_they_are_inverters_by_name(spec: str, kind: Coupled) -> None:
    clean, steps = normal(*SHAPE, seed=10), SCHEDULES["ddim"]
    inversion, expected = invert(Network(), steps, clean, spec), kind.invert(Network(), steps, clean)
    assert (inversion.sampler, inversion.schedule) == (kind, steps)
    assert all(torch.equal(x, y) for x, y in zip(inversion.pair, expected.pair, strict=True))
