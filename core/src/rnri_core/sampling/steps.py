"""Deterministic sampling steps as data: every first-order sampler is a table of affine steps.

    z_clean = a·z + b·m(s·z, t) + c

A step carries α x₀ + σ n to α′ x₀ + σ′ n (+ c) when the network m is perfect. Written through the denoised image,
z_clean = (σ′/σ) z + (α′ − α σ′/σ) x̂(z) + c, so its coefficients follow from the four levels α, σ, α′, σ′ and from
how the network states x̂. The tables below differ only in their levels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.solvers.equation import Equation, Gaussian, at_least_float32, norm

Denoiser = Callable[[Tensor, float], Tensor]
"""(scaled latents (B, …), timestep) → network output (B, …); prompt and guidance already bound."""

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]
"""What the network states: the noise n, the velocity α n − σ x₀ (of the unit-variance latent), x₀, or n − x₀."""


@dataclass(frozen=True, eq=False)
class Step:
    """One sampling step from the noisy end to the clean end: z_clean = a·z + b·m(scale·z, t) + c.

    ``c`` is the frozen noise already times its standard deviation, of any shape that broadcasts to the latents.
    ``levels`` are α, σ at the noisy end and what the step carries them to, α′, σ′ (fresh noise in ``c`` not counted).
    ``effective`` is (γ, variance) of q(z | z_clean) = N(γ z_clean, variance) over the whole step, ``dense`` over the
    last training timestep alone. ``lowest`` is the smallest eigenvalue of ∂g to expect of its equation: 0 where the
    network states the noise, which allows no smaller ones, or the velocity, where those are of data that vary more than
    latents do on average; −1 where it states the flow or the image, of which this is not so.

    Raises ``ValueError`` where the step cannot be inverted (a zero or not finite).

    >>> step = Step(t=500, a=1.25, b=-0.5, c=None, scale=1.0, levels=(0.8, 0.6, 1.0, 0.25))
    >>> z = torch.ones(1, 4)
    >>> step.denoise(lambda z, t: z.tanh(), z)[0, 0].item()  # 1.25 − 0.5·tanh(1)
    0.8692...
    """

    t: float
    a: float
    b: float
    c: Tensor | None
    scale: float
    levels: tuple[float, float, float, float]
    effective: tuple[float, float] = (1.0, 1.0)
    dense: tuple[float, float] = (1.0, 1.0)
    lowest: float = 0.0

    def __post_init__(self) -> None:
        if self.a == 0 or not math.isfinite(self.a) or not math.isfinite(self.b):
            raise RnriError(
                f"the step at t={self.t:g} cannot be inverted",
                hint=f"z_clean = {self.a:g}·z + {self.b:g}·m forgets z; end at a noise level above zero, "
                "or use a network that predicts epsilon or v",
            )

    def spectrum(self) -> tuple[float, float]:
        """[σ′/σ, α′/α]: bounds of the eigenvalues of ∂z_clean/∂z for an ideal network (Tweedie's formula).

        The upper bound is infinite where no signal is left at the noisy end (α = 0).
        """
        alpha, sigma, alpha_clean, sigma_clean = self.levels
        return sigma_clean / sigma, alpha_clean / alpha if alpha else math.inf

    def denoise(self, m: Denoiser, z: Tensor) -> Tensor:
        """z_clean = a·z + b·m(scale·z, t) + c; same shape as ``z``, one call, no graph."""
        return self.step(z, self.model_output(m, z))

    def model_output(self, m: Denoiser, z: Tensor) -> Tensor:
        """m(scale·z, t), in the dtype of ``z``; one call, no graph."""
        with torch.no_grad():
            return m(self.scale * z, self.t).to(z.dtype)

    def step(self, z: Tensor, output: Tensor) -> Tensor:
        """a·z + b·output + c: where the step takes ``z`` if the network says ``output``."""
        clean = self.a * z + self.b * output
        return clean if self.c is None else clean + self.c.to(z)

    def residual(self, m: Denoiser, z: Tensor, z_clean: Tensor) -> Tensor:
        """‖z_clean − denoise(z)‖ / ‖z_clean‖ for each image, shape (B,); one call."""
        return (norm(z_clean - self.denoise(m, z)) / norm(z_clean)).flatten()

    def predict_x0(self, m: Denoiser, z: Tensor) -> Tensor:
        """x̂(z), the image's latents as the network sees them in ``z``; one call.

        >>> step = flow([0.5, 0.25], [500])[0]
        >>> step.predict_x0(lambda z, t: torch.full_like(z, 2.0), torch.ones(1, 1)).item()  # z − σ·v
        0.0
        """
        return self.x0_from_step(z, self.denoise(m, z))

    def x0_from_step(self, z: Tensor, z_clean: Tensor) -> Tensor:
        """The image's latents that a step from ``z`` to ``z_clean`` leads to: x̂(z), if that is its end; no call.

        Where z = α·x + σ·ε and z_clean − c = α′·x + σ′·ε, x = (z_clean − c − (σ′/σ)·z)/(α′ − α·σ′/σ).

        >>> step = Step(t=500, a=1.0, b=-0.5, c=None, scale=1.0, levels=(0.8, 0.6, 0.96, 0.28))
        >>> x, noise = torch.ones(1), torch.tensor([2.0])
        >>> round(step.x0_from_step(0.8 * x + 0.6 * noise, 0.96 * x + 0.28 * noise).item(), 4)
        1.0
        """
        _, sigma, _, sigma_clean = self.levels
        end = z_clean if self.c is None else z_clean - self.c.to(z_clean)
        return (end - sigma_clean / sigma * z) / self.weight

    @property
    def weight(self) -> float:
        """α′ − α·σ′/σ: how much of x̂ is in z_clean = (σ′/σ)·z + weight·x̂ + c."""
        alpha, sigma, alpha_clean, sigma_clean = self.levels
        return alpha_clean - alpha * sigma_clean / sigma

    def inverse_step(self, z_clean: Tensor, output: Tensor) -> Tensor:
        """(z_clean − b·output − c)/a: the latent that the step takes to ``z_clean`` if the network says ``output``."""
        rest = z_clean if self.c is None else z_clean - self.c.to(z_clean)
        return (rest - self.b * output) / self.a

    def implied_output(self, z: Tensor, z_clean: Tensor) -> Tensor:
        """(z_clean − a·z − c)/b: what the network must say at ``z`` for the step to arrive at ``z_clean``."""
        rest = z_clean if self.c is None else z_clean - self.c.to(z_clean)
        return (rest - self.a * z) / self.b

    def ancestral(self) -> Step:
        """The step to the mean of q(z_clean | z, x̂), to which stochastic samplers (DDPM, Euler-ancestral) add noise.

        It ends at α′ x₀ + σ_down n with σ_down = (α/α′) σ′²/σ, and has no noise of its own; ``self`` has none either.
        """
        alpha, sigma, alpha_clean, sigma_clean = self.levels
        down = alpha / alpha_clean * sigma_clean**2 / sigma
        share = (alpha_clean - alpha * down / sigma) / (alpha_clean - alpha * sigma_clean / sigma)
        a = down / sigma + share * (self.a - sigma_clean / sigma)
        return replace(self, a=a, b=share * self.b, levels=(alpha, sigma, alpha_clean, down))

    def equation(self, m: Denoiser, z_clean: Tensor, image: Tensor | None = None) -> Equation:
        """z = undo(z_clean, m(scale·z, t)), whose root the step takes to ``z_clean``; computed in float32 or better.

        Its residual is ‖z_clean − denoise(z)‖ / ‖z_clean‖: z_clean − denoise(z) = a·(g(z) − z).
        Its priors are ``effective`` and ``dense``, q(z | z_clean), ``path``, what the step takes to ``z_clean`` along
        white noise n: (α/α′)(z_clean − c) + (σ − σ′α/α′) n, and with ``image`` (the latents x₀ of the whole picture)
        ``image``, q(z | x₀) = N(α x₀, σ²).
        """
        z_clean = at_least_float32(z_clean)
        step = self if self.c is None else replace(self, c=self.c.to(z_clean))
        low, high = self.spectrum()

        def g(z: Tensor) -> Tensor:
            return step.inverse_step(z_clean, m(step.scale * z, step.t).to(z.dtype))

        def prior(name: str) -> Gaussian:
            if name == "image" and image is not None:
                return Gaussian(self.levels[0] * image, self.levels[1] ** 2)
            if name == "path":
                alpha, sigma, alpha_clean, sigma_clean = self.levels
                kept, rest = alpha / alpha_clean, z_clean if step.c is None else z_clean - step.c
                return Gaussian(kept * rest, (sigma - kept * sigma_clean) ** 2)
            if name in ("effective", "dense"):
                gamma, variance = self.effective if name == "effective" else self.dense
                return Gaussian(gamma * z_clean, variance)
            raise RnriError(f"this equation has no prior {name!r}; give the image's latents to have 'image'")

        return Equation(
            g,
            target=z_clean,
            gain=self.a,
            bounds=(1.0 - high / self.a, 1.0 - low / self.a),
            lowest=self.lowest,
            t=self.t,
            prior=prior,
        )


def add_noise(clean: Tensor, end: tuple[float, float], levels: tuple[float, float], noise: Tensor) -> Tensor:
    """(α/α′)·clean + √(σ² − (ασ′/α′)²)·noise: latents at the levels ``end`` α′, σ′ brought to α, σ by white noise.

    ``noise`` broadcasts to ``clean``; no noise is added where there is as much already.

    >>> add_noise(torch.ones(1, 1), (1.0, 0.0), (0.8, 0.6), torch.full((1, 1), 2.0)).item()
    2.0
    """
    kept = levels[0] / end[0]
    return kept * clean + math.sqrt(max(levels[1] ** 2 - (kept * end[1]) ** 2, 0.0)) * noise.to(clean)


Schedule = tuple[Step, ...]
"""Steps from pure noise to the image; inversion walks it from the end."""


def ddim(
    alphas_cumprod: Tensor,
    timesteps: Iterable[int],
    prediction_type: Prediction = "epsilon",
    *,
    final_alpha: float = 1.0,
    stride: int | None = None,
) -> Schedule:
    """DDIM, η = 0 (Song et al. 2021, Eq. 12), without clipping: α = √ᾱ, σ = √(1 − ᾱ).

    ``alphas_cumprod`` is ᾱ for each training timestep, ``timesteps`` those visited, noisy to clean.
    A step ends at the next timestep visited, or at t − ``stride`` where given (the diffusers scheduler's rule), and
    at ``final_alpha`` once there is none.

    >>> ddim(torch.linspace(0.99, 0.1, 10), [9, 4])[0].spectrum()
    (0.671..., 2.438...)
    """
    bars = alphas_cumprod.double().tolist()
    visited = [int(t) for t in timesteps]
    ends = [t - stride for t in visited] if stride else [*visited[1:], -1]
    steps = []
    for t, end in zip(visited, ends, strict=True):
        bar, bar_clean = bars[t], bars[end] if end >= 0 else final_alpha
        levels = (math.sqrt(bar), math.sqrt(1 - bar), math.sqrt(bar_clean), math.sqrt(1 - bar_clean))
        dense = _variance_preserving(bar, bars[t - 1] if t else final_alpha)
        steps.append(
            step_between(t, levels, prediction_type, effective=_variance_preserving(bar, bar_clean), dense=dense)
        )
    return tuple(steps)


def euler(
    sigmas: Sequence[float] | Tensor, timesteps: Iterable[float], prediction_type: Prediction = "epsilon"
) -> Schedule:
    """Euler's method in the variance-exploding form z = x₀ + σ n: z_clean = z + (σ′ − σ) ε(z/√(σ² + 1)).

    ``sigmas`` has one entry more than ``timesteps``: σ at each timestep, then where the last step ends.
    """
    return tuple(
        step_between(t, (1.0, sigma, 1.0, end), prediction_type, scale=1 / math.sqrt(sigma**2 + 1))
        for t, sigma, end in _intervals(timesteps, sigmas)
    )


def euler_ancestral(
    sigmas: Sequence[float] | Tensor,
    timesteps: Iterable[float],
    prediction_type: Prediction = "epsilon",
    *,
    shape: Sequence[int],
    generator: torch.Generator,
) -> Schedule:
    """Euler-ancestral with frozen noise: down to σ_down = σ′²/σ, then back up to σ′ with noise drawn here.

    ``shape`` is that of one image's latents; every image of a batch meets the same noise.
    """
    steps = []
    for t, sigma, end in _intervals(timesteps, sigmas):
        up = math.sqrt(end**2 * (sigma**2 - end**2) / sigma**2)
        c = up * _noise(shape, generator) if up else None
        steps.append(
            step_between(t, (1.0, sigma, 1.0, end**2 / sigma), prediction_type, c=c, scale=1 / math.sqrt(sigma**2 + 1))
        )
    return tuple(steps)


def lcm(
    alphas_cumprod: Tensor,
    timesteps: Iterable[int],
    prediction_type: Prediction = "epsilon",
    *,
    shape: Sequence[int],
    generator: torch.Generator,
    sigma_data: float = 0.5,
    timestep_scaling: float = 10.0,
) -> Schedule:
    """Multistep consistency sampling with frozen noise (Luo et al. 2023): z_clean = α′ (c_skip z + c_out x̂) + σ′ n.

    The last step ends at the image, without noise. ``shape`` is that of one image's latents.
    Nearly all of z is thrown away at each step, so this table inverts badly; see :meth:`Step.spectrum`.
    """
    bars = alphas_cumprod.double().tolist()
    visited = [int(t) for t in timesteps]
    steps = []
    for t, end in zip(visited, [*visited[1:], None], strict=True):
        bar, bar_clean = bars[t], 1.0 if end is None else bars[end]
        alpha, sigma, alpha_clean = math.sqrt(bar), math.sqrt(1 - bar), math.sqrt(bar_clean)
        spread = math.hypot(t * timestep_scaling, sigma_data)
        skip, out = (sigma_data / spread) ** 2, t * timestep_scaling / spread
        levels = (alpha, sigma, alpha_clean * (out + alpha * skip), alpha_clean * sigma * skip)
        c = None if end is None else math.sqrt(1 - bar_clean) * _noise(shape, generator)
        dense = _variance_preserving(bar, bars[t - 1] if t else 1.0)
        steps.append(
            step_between(t, levels, prediction_type, c=c, effective=_variance_preserving(bar, bar_clean), dense=dense)
        )
    return tuple(steps)


def flow(sigmas: Sequence[float] | Tensor, timesteps: Iterable[float]) -> Schedule:
    """Euler's method on a rectified flow, z = (1 − σ) x₀ + σ n: z_clean = z + (σ′ − σ) v(z, t).

    ``sigmas`` has one entry more than ``timesteps``: σ at each timestep, then where the last step ends.

    >>> [round(step.b, 3) for step in flow([1.0, 0.5, 0.0], [1000, 500])]
    [-0.5, -0.5]
    """
    steps = []
    for t, sigma, end in _intervals(timesteps, sigmas):
        gamma = (1 - sigma) / (1 - end)
        transition = (gamma, sigma**2 - (gamma * end) ** 2)
        steps.append(step_between(t, (1 - sigma, sigma, 1 - end, end), "flow", effective=transition, dense=transition))
    return tuple(steps)


def step_between(
    t: float,
    levels: tuple[float, float, float, float],
    prediction_type: Prediction,
    *,
    c: Tensor | None = None,
    scale: float = 1.0,
    effective: tuple[float, float] = (1.0, 1.0),
    dense: tuple[float, float] = (1.0, 1.0),
) -> Step:
    """The step between two noise levels.

    It takes α x₀ + σ n to α′ x₀ + σ′ n + c where the network is perfect: z_clean = (σ′/σ) z + (α′ − α σ′/σ) x̂(z) + c,
    for a network whose output m gives x̂ = p·z + q·m.

    Args:
        t: the timestep, at which the network is called.
        levels: α, σ at the noisy end and α′, σ′ at the clean end, without the noise that is added.
        prediction_type: what the network predicts.
        c: frozen noise times its standard deviation, (C, h, w) or None.
        scale: factor of the latents that the network is given.
        effective: (γ, variance) of q(z | z_clean) over the whole step, for solvers with a prior.
        dense: the same over the last training timestep alone.

    Raises:
        RnriError: for a step that starts without noise, and for noise predictions where no signal is left.

    >>> step = step_between(500, (0.5, 0.5, 0.75, 0.25), "flow")
    >>> step.a, step.b
    (1.0, -0.25)
    """
    alpha, sigma, alpha_clean, sigma_clean = levels
    if sigma <= 0:
        raise RnriError(f"the step at t={t:g} starts without noise (σ={sigma:g}); leave it out")
    if prediction_type == "epsilon":
        if alpha == 0:
            raise RnriError(
                f"at t={t:g} no signal is left (zero terminal SNR), and a noise prediction cannot recover it; "
                "use a network that predicts v, or start at an earlier timestep"
            )
        p, q = 1 / alpha, -sigma / alpha
    elif prediction_type == "v_prediction":
        size = math.hypot(alpha, sigma)
        p, q = alpha / size**2, -sigma / size
    elif prediction_type == "sample":
        p, q = 0.0, 1.0
    elif prediction_type == "flow":
        p, q = 1 / (alpha + sigma), -sigma / (alpha + sigma)
    else:
        raise RnriError(f"prediction_type {prediction_type!r} is not one of epsilon, v_prediction, sample, flow")
    kept = sigma_clean / sigma
    image = alpha_clean - alpha * kept
    lowest = 0.0 if prediction_type in ("epsilon", "v_prediction") else -1.0
    return Step(float(t), kept + image * p, image * q, c, scale, levels, effective, dense, lowest)


def _intervals(timesteps: Iterable[float], sigmas: Sequence[float] | Tensor) -> list[tuple[float, float, float]]:
    """(t, σ, σ′) of each step, checked to fall."""
    times = [float(t) for t in timesteps]
    values = [float(s) for s in sigmas]
    if len(values) != len(times) + 1:
        raise RnriError(
            f"{len(times)} timesteps need {len(times) + 1} sigmas, the last where sampling ends; got {len(values)}"
        )
    if any(end >= start for start, end in itertools.pairwise(values)):
        raise RnriError(f"sigmas must fall from noise to image; got {values}")
    return list(zip(times, values, values[1:], strict=False))


def _variance_preserving(bar: float, bar_clean: float) -> tuple[float, float]:
    """(γ, β) of the noising that takes ᾱ′ to ᾱ: γ = √(ᾱ/ᾱ′), β = 1 − ᾱ/ᾱ′."""
    return math.sqrt(bar / bar_clean), 1 - bar / bar_clean


def _noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator, device=generator.device)
