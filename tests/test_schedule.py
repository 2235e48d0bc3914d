"""The tables of steps against diffusers' own schedulers, and what a step says of itself."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
)
from rnri_core.sampling.schedules import ddim, euler, euler_ancestral, flow, lcm
from rnri_core.sampling.steps import Denoiser, Schedule, Step
from rnri_core.solvers.step_equation import priors
from torch import Tensor

from rnri.models.schedulers import table
from tests.problems import ALPHAS_CUMPROD, gaussian_denoiser, gaussian_schedule, normal

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SHAPE = (2, 4, 4)
# Schedulers compute in float32 from float32 tables; a step is a handful of roundings.
ROUNDING = 40 * torch.finfo(torch.float32).eps


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_same(schedule: Schedule, scheduler: Any, **extra: Any) -> None:
    """Every step of the table does what the scheduler's own step does, on the same network output."""
    assert len(schedule) == len(scheduler.timesteps)
    for k, (step, t) in enumerate(zip(schedule, scheduler.timesteps, strict=True)):
        z, output = (normal(1, *SHAPE, seed=seed + k, dtype=torch.float32) for seed in (1, 100))
        seen: list[Tensor] = []

        def m(scaled: Tensor, at: float, seen: list[Tensor] = seen, output: Tensor = output) -> Tensor:
            seen.append(scaled)
            return output

        ours = step.denoise(m, z)
        if hasattr(scheduler, "scale_model_input"):
            torch.testing.assert_close(seen[0], scheduler.scale_model_input(z, t), rtol=ROUNDING, atol=ROUNDING)
        theirs = scheduler.step(output, t, z, return_dict=False, **extra)[0]
        assert step.t == pytest.approx(float(t))
        size = max(1.0, abs(step.a), abs(step.b))
        torch.testing.assert_close(ours, theirs, rtol=ROUNDING * size, atol=ROUNDING * size)


LEVELS: dict[str, dict[str, Any]] = {
    "spaced": {},
    "log-linear": {"interpolation_type": "log_linear"},
    "karras": {"use_karras_sigmas": True},
    "log-linear, karras": {"interpolation_type": "log_linear", "use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
    "beta": {"use_beta_sigmas": True},
    "continuous": {"timestep_type": "continuous", "prediction_type": "v_prediction"},
}
"""Where diffusers lets Euler's steps lie, besides its spacing."""


@pytest.mark.parametrize("final", ["zero", "sigma_min"])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("levels", LEVELS)
def test_euler_samples_every_schedule_that_diffusers_samples(levels: str, spacing: str, final: Any) -> None:
    scheduler = EulerDiscreteScheduler(**BETAS, timestep_spacing=spacing, final_sigmas_type=final, **LEVELS[levels])
    steps = table(scheduler, 5, shape=SHAPE)
    scheduler.set_timesteps(5)
    start = normal(1, *SHAPE, seed=2, dtype=torch.float32)
    theirs = ours = start * scheduler.init_noise_sigma
    for k, t in enumerate(scheduler.timesteps):
        output = normal(1, *SHAPE, seed=k, dtype=torch.float32)
        before, theirs = theirs, scheduler.step(output, t, theirs, return_dict=False)[0]
        if k == len(steps):
            torch.testing.assert_close(theirs, before, rtol=ROUNDING, atol=ROUNDING)  # it changes nothing
        else:
            assert steps[k].t == pytest.approx(float(t))
            ours = steps[k].step(ours, output)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert len(steps) in (4, 5)
    assert len(steps) == 5 or final == "sigma_min"


def test_a_single_step_that_changes_nothing_is_refused() -> None:
    scheduler = EulerDiscreteScheduler(**BETAS, timestep_spacing="linspace", final_sigmas_type="sigma_min")
    with pytest.raises(ValueError, match="in one step EulerDiscreteScheduler ends at the level it starts at: take 2"):
        table(scheduler, 1, shape=SHAPE)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("to_one", [True, False])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("num_steps", [4, 7, 50])
def test_ddim_is_the_schedulers_step(spacing: str, to_one: bool, prediction: Any, num_steps: int) -> None:
    scheduler = DDIMScheduler(
        **BETAS,
        clip_sample=False,
        set_alpha_to_one=to_one,
        timestep_spacing=spacing,
        prediction_type=prediction,
        steps_offset=1 if spacing == "leading" else 0,
    )
    scheduler.set_timesteps(num_steps)

    def table() -> Schedule:
        return ddim(
            scheduler.alphas_cumprod,
            scheduler.timesteps,
            prediction,
            final_alpha=float(scheduler.final_alpha_cumprod),
            stride=1000 // num_steps,
        )

    reaches_image = int(scheduler.timesteps[-1]) < 1000 // num_steps
    if prediction == "sample" and to_one and reaches_image:
        with pytest.raises(ValueError, match="cannot be inverted"):
            table()
    else:
        assert_same(table(), scheduler)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_euler_is_the_schedulers_step(spacing: str, prediction: Any) -> None:
    scheduler = EulerDiscreteScheduler(**BETAS, timestep_spacing=spacing, prediction_type=prediction, steps_offset=1)
    scheduler.set_timesteps(6)
    assert_same(euler(scheduler.sigmas, scheduler.timesteps, prediction), scheduler)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_euler_ancestral_is_the_schedulers_step_with_the_same_noise(prediction: Any) -> None:
    scheduler = EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="trailing", prediction_type=prediction)
    scheduler.set_timesteps(4)
    table = euler_ancestral(scheduler.sigmas, scheduler.timesteps, prediction, shape=SHAPE, generator=generator())
    assert_same(table, scheduler, generator=generator())
    assert table[-1].c is None


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_lcm_is_the_schedulers_step_with_the_same_noise(prediction: Any) -> None:
    scheduler = LCMScheduler(**BETAS, prediction_type=prediction)
    scheduler.set_timesteps(4)
    table = lcm(scheduler.alphas_cumprod, scheduler.timesteps, prediction, shape=SHAPE, generator=generator())
    assert_same(table, scheduler, generator=generator())
    assert table[-1].c is None


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_is_the_schedulers_step(shift: float) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(5)
    assert_same(flow(scheduler.sigmas, scheduler.timesteps), scheduler)


def tables() -> dict[str, tuple[Schedule, str]]:
    """Every table with every prediction, and what its network is asked for."""
    sigmas = [14.0, 4.0, 1.6, 0.7, 0.0]
    times = [999, 749, 499, 249]
    noise: dict[str, Any] = {"shape": SHAPE, "generator": generator()}
    predictions: tuple[Any, ...] = ("epsilon", "v_prediction", "sample")
    made = {f"ddim {p}": (ddim(ALPHAS_CUMPROD, times, p, final_alpha=0.999), p) for p in predictions}
    made |= {f"lcm {p}": (lcm(ALPHAS_CUMPROD, times, p, **noise), p) for p in predictions}
    made |= {f"euler {p}": (euler(sigmas, times, p), p) for p in predictions[:2]}
    made |= {f"ancestral {p}": (euler_ancestral(sigmas, times, p, **noise), p) for p in predictions[:2]}
    return made | {"flow": (flow([1.0, 0.8, 0.5, 0.2, 0.0], times), "flow")}


TABLES = tables()


def perfect(step: Step, prediction: str, x0: Tensor, noise: Tensor) -> Denoiser:
    """The network that knows the image and the noise."""
    alpha, sigma, _, _ = step.levels
    size = (alpha**2 + sigma**2) ** 0.5
    outputs = {
        "epsilon": noise,
        "v_prediction": (alpha * noise - sigma * x0) / size,
        "sample": x0,
        "flow": noise - x0,
    }
    return lambda z, t: outputs[prediction]


@pytest.mark.parametrize("name", TABLES)
def test_a_perfect_network_is_carried_from_level_to_level(name: str) -> None:
    schedule, prediction = TABLES[name]
    x0, noise = normal(1, *SHAPE, seed=1), normal(1, *SHAPE, seed=2)
    for step in schedule:
        alpha, sigma, alpha_clean, sigma_clean = step.levels
        z = alpha * x0 + sigma * noise
        fresh = 0.0 if step.c is None else step.c.to(z)
        carried = step.denoise(perfect(step, prediction, x0, noise), z)
        torch.testing.assert_close(carried, alpha_clean * x0 + sigma_clean * noise + fresh, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_ancestral_steps_end_where_ddpm_adds_its_noise(prediction: Any) -> None:
    scheduler = DDIMScheduler(**BETAS, clip_sample=False, prediction_type=prediction, timestep_spacing="trailing")
    scheduler.set_timesteps(5)
    schedule = ddim(scheduler.alphas_cumprod, scheduler.timesteps.tolist()[:-1], prediction, stride=200)
    scheduler.timesteps = scheduler.timesteps[:-1]
    none = torch.zeros(1, *SHAPE)
    assert_same(tuple(step.ancestral() for step in schedule), scheduler, eta=1.0, variance_noise=none)


def test_ancestral_steps_of_euler_are_euler_ancestral() -> None:
    sigmas, timesteps = [14.6, 4.1, 1.6, 0.0], [999, 749, 499]
    noisy = euler_ancestral(sigmas, timesteps, shape=SHAPE, generator=generator())
    for step, expected in zip(euler(sigmas, timesteps), noisy, strict=True):
        made = step.ancestral()
        assert (made.a, made.b, made.scale) == pytest.approx((expected.a, expected.b, expected.scale))
        assert made.levels == pytest.approx(expected.levels)


@pytest.mark.parametrize("name", TABLES)
def test_undo_and_output_invert_denoise(name: str) -> None:
    z, output = normal(2, *SHAPE, seed=3), normal(2, *SHAPE, seed=4)
    for step in TABLES[name][0]:
        clean = step.denoise(lambda z, t: output, z)
        size = max(1.0, abs(step.b / step.a), 1 / abs(step.a))
        torch.testing.assert_close(step.inverse_step(clean, output), z, rtol=1e-12 * size, atol=1e-12 * size)
        size = max(1.0, abs(step.a / step.b), 1 / abs(step.b))
        torch.testing.assert_close(step.implied_output(z, clean), output, rtol=1e-12 * size, atol=1e-12 * size)


def test_levels_of_a_deterministic_table_form_a_chain() -> None:
    for name in ("ddim epsilon", "euler epsilon", "flow"):
        steps = TABLES[name][0]
        for step, following in itertools.pairwise(steps):
            assert step.levels[2:] == pytest.approx(following.levels[:2])


def test_spectrum_encloses_an_ideal_networks_jacobian() -> None:
    """The exact denoiser of Gaussian data multiplies by one number, which must lie within the bounds."""
    for step in gaussian_schedule():
        low, high = step.spectrum()
        slope = step.denoise(gaussian_denoiser, torch.ones(1, 1)).item()
        assert low <= slope <= high
        equation = step.equation(gaussian_denoiser, torch.ones(1, 1))
        slope_of_g = (equation(torch.ones(1, 1)) - equation(torch.zeros(1, 1))).item()
        assert equation.bounds[0] - 1e-6 <= slope_of_g <= equation.bounds[1] + 1e-6


def test_epsilon_bounds_start_at_zero() -> None:
    for step in gaussian_schedule():
        low, high = step.equation(gaussian_denoiser, torch.ones(1, 1)).bounds
        alpha, sigma, alpha_clean, sigma_clean = step.levels
        assert low == pytest.approx(0.0, abs=1e-12)
        assert high == pytest.approx(1 - sigma_clean * alpha / (sigma * alpha_clean))


def test_the_equations_residual_is_the_steps() -> None:
    clean, z = normal(3, *SHAPE, seed=5), normal(3, *SHAPE, seed=6)
    for step, _ in TABLES.values():
        equation = step[1].equation(gaussian_denoiser, clean)
        torch.testing.assert_close(equation.residual(z, equation(z)), step[1].residual(gaussian_denoiser, z, clean))


def test_priors() -> None:
    clean, image = normal(1, *SHAPE, seed=7), normal(1, *SHAPE, seed=8)
    step = gaussian_schedule()[1]
    equation = step.equation(gaussian_denoiser, clean, image)
    bar, bar_clean = ALPHAS_CUMPROD[749].item(), ALPHAS_CUMPROD[499].item()
    effective, dense, whole = equation.priors.effective, equation.priors.dense, equation.priors.image
    assert effective.variance == pytest.approx(1 - bar / bar_clean)
    torch.testing.assert_close(effective.mean, (1 - effective.variance) ** 0.5 * clean)
    assert dense.variance == pytest.approx(1 - bar / ALPHAS_CUMPROD[748].item())
    assert whole.variance == pytest.approx(1 - bar)
    torch.testing.assert_close(whole.mean, bar**0.5 * image)
    assert priors(equation) is equation.priors
    assert equation.priors.t == step.t
    with pytest.raises(ValueError, match="image's latents"):
        _ = step.equation(gaussian_denoiser, clean).priors.image


@pytest.mark.parametrize("name", TABLES)
def test_the_path_to_the_clean_end_lies_along_the_noise(name: str) -> None:
    schedule, prediction = TABLES[name]
    x0, noise = normal(1, *SHAPE, seed=9), normal(1, *SHAPE, seed=10)
    for step in schedule:
        alpha, sigma, _, _ = step.levels
        z = alpha * x0 + sigma * noise
        network = perfect(step, prediction, x0, noise)
        path = step.equation(network, step.denoise(network, z)).priors.path
        torch.testing.assert_close(path.mean + path.variance**0.5 * noise, z, rtol=1e-9, atol=1e-9)


def test_flow_transition_composes_noise_levels() -> None:
    for step in TABLES["flow"][0]:
        alpha, sigma, alpha_clean, sigma_clean = step.levels
        gamma, variance = step.effective
        assert gamma * alpha_clean == pytest.approx(alpha)
        assert gamma**2 * sigma_clean**2 + variance == pytest.approx(sigma**2)


def test_zero_terminal_snr_is_refused_for_epsilon_only() -> None:
    bars = torch.tensor([0.9, 0.5, 0.0])
    with pytest.raises(ValueError, match="zero terminal SNR"):
        ddim(bars, [2, 1])
    steps = ddim(bars, [2, 1], "v_prediction")
    assert steps[0].spectrum()[1] == float("inf")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Step(5, 0.0, 1.0, None, 1.0, (1, 1, 1, 0)), "cannot be inverted"),
        (lambda: Step(5, float("inf"), 1.0, None, 1.0, (1, 1, 1, 0)), "cannot be inverted"),
        (lambda: ddim(ALPHAS_CUMPROD, [5], "noise"), "prediction_type 'noise'"),  # type: ignore[arg-type]
        (lambda: euler([1.0, 2.0], [5]), "must fall"),
        (lambda: euler([1.0], [5]), "1 timesteps need 2 sigmas"),
        (lambda: ddim(torch.ones(10), [5]), "without noise"),
    ],
)
def test_bad_tables_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_frozen_noise_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    tables()
    assert torch.equal(before, torch.get_rng_state())
