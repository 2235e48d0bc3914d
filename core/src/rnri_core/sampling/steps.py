"""Deterministic sampling steps as data: every first-order sampler is a table of affine steps.

    z_clean = a·z + b·m(s·z, t) + c

A step carries α x₀ + σ n to α′ x₀ + σ′ n (+ c) when the network m is perfect. Written through the denoised image,
z_clean = (σ′/σ) z + (α′ − α σ′/σ) x̂(z) + c, so its coefficients follow from the four levels α, σ, α′, σ′ and from
the prediction type of the network (:func:`step_between`). Tables of samplers are in `rnri_core.sampling.schedules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from rnri_core.errors import RnriError
from rnri_core.solvers.equation import at_least_float32, norm
from rnri_core.solvers.step_equation import Gaussian, Priors, StepEquation

Denoiser = Callable[[Tensor, float], Tensor]
"""(scaled latents (B, …), timestep) → network output (B, …); prompt and guidance already bound."""

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]
"""Prediction type: noise n, velocity α n − σ x₀ (of the unit-variance latent), x₀, or flow n − x₀."""


@dataclass(frozen=True, eq=False)
class Step:
    """One sampling step from the noisy end to the clean end: z_clean = a·z + b·m(scale·z, t) + c.

    Attributes:
        t: timestep, as the network takes it.
        a, b: factors of the latents and of the network output.
        c: frozen noise times its standard deviation, of a shape that broadcasts to the latents, or ``None``.
        scale: factor of the latents that enter the network.
        levels: α, σ at the noisy end, and α′, σ′ to which the step carries them (noise in ``c`` not counted).
        effective: (γ, variance) of q(z | z_clean) = N(γ z_clean, variance) over the whole step.
        dense: the same over the last training timestep alone.
        lowest: the smallest eigenvalue of ∂g/∂z to expect of its equation: 0 for networks that predict noise, which
            allows no smaller ones, or velocity, where those are of data that vary more than latents do on average; −1
            for flow and x₀.

    Raises:
        RnriError: where the step cannot be inverted (``a`` zero or not finite).

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
        """m(scale·z, t), the network output (B, …) in the dtype of ``z``; one call, no graph."""
        with torch.no_grad():
            return m(self.scale * z, self.t).to(z.dtype)

    def step(self, z: Tensor, output: Tensor) -> Tensor:
        """z_clean = a·z + b·output + c, for a network output at ``z``; all (B, …)."""
        clean = self.a * z + self.b * output
        return clean if self.c is None else clean + self.c.to(z)

    def residual(self, m: Denoiser, z: Tensor, z_clean: Tensor) -> Tensor:
        """‖z_clean − denoise(z)‖ / ‖z_clean‖ for each image, shape (B,); one call."""
        return (norm(z_clean - self.denoise(m, z)) / norm(z_clean)).flatten()

    def predict_x0(self, m: Denoiser, z: Tensor) -> Tensor:
        """x̂(z), the x₀ prediction of the network at ``z``, (B, …); one call.

        >>> step = step_between(500, (0.5, 0.5, 0.75, 0.25), "flow")
        >>> step.predict_x0(lambda z, t: torch.full_like(z, 2.0), torch.ones(1, 1)).item()  # z − σ·v
        0.0
        """
        return self.x0_from_step(z, self.denoise(m, z))

    def x0_from_step(self, z: Tensor, z_clean: Tensor) -> Tensor:
        """The x₀ prediction that a step from ``z`` to ``z_clean`` implies, (B, …); no call.

        Where z = α·x + σ·ε and z_clean − c = α′·x + σ′·ε, x = (z_clean − c − (σ′/σ)·z)/(α′ − α·σ′/σ).

        >>> step = Step(t=500, a=1.0, b=-0.5, c=None, scale=1.0, levels=(0.8, 0.6, 0.96, 0.28))
        >>> x, noise = torch.ones(1), torch.tensor([2.0])
        >>> round(step.x0_from_step(0.8 * x + 0.6 * noise, 0.96 * x + 0.28 * noise).item(), 4)
        1.0
        """
        _, sigma, _, sigma_clean = self.levels
        return (self._without_noise(z_clean) - sigma_clean / sigma * z) / self.weight

    @property
    def weight(self) -> float:
        """α′ − α·σ′/σ, the factor of x̂ in z_clean = (σ′/σ)·z + weight·x̂ + c."""
        alpha, sigma, alpha_clean, sigma_clean = self.levels
        return alpha_clean - alpha * sigma_clean / sigma

    def inverse_step(self, z_clean: Tensor, output: Tensor) -> Tensor:
        """(z_clean − b·output − c)/a: the noisy latents from which ``output`` leads to ``z_clean``, all (B, …)."""
        return (self._without_noise(z_clean) - self.b * output) / self.a

    def implied_output(self, z: Tensor, z_clean: Tensor) -> Tensor:
        """(z_clean − a·z − c)/b: the network output at ``z`` with which the step ends at ``z_clean``, all (B, …)."""
        return (self._without_noise(z_clean) - self.a * z) / self.b

    def _without_noise(self, z_clean: Tensor) -> Tensor:
        """z_clean − c."""
        return z_clean if self.c is None else z_clean - self.c.to(z_clean)

    def ancestral(self) -> Step:
        """The step to the mean of q(z_clean | z, x̂), to which stochastic samplers (DDPM, Euler-ancestral) add noise.

        It ends at α′ x₀ + σ_down n with σ_down = (α/α′) σ′²/σ, and has no noise of its own; ``self`` has none either.
        """
        alpha, sigma, alpha_clean, sigma_clean = self.levels
        down = alpha / alpha_clean * sigma_clean**2 / sigma
        share = (alpha_clean - alpha * down / sigma) / self.weight
        a = down / sigma + share * (self.a - sigma_clean / sigma)
        return replace(self, a=a, b=share * self.b, levels=(alpha, sigma, alpha_clean, down))

    def equation(self, m: Denoiser, z_clean: Tensor, image: Tensor | None = None) -> StepEquation:
        """z = inverse_step(z_clean, m(scale·z, t)), whose root the step takes to ``z_clean``; in float32 or better.

        Its residual is ‖z_clean − denoise(z)‖ / ‖z_clean‖, as z_clean − denoise(z) = a·(g(z) − z).

        Args:
            m: the network, prompt and guidance bound.
            z_clean: latents at the clean end, (B, …).
            image: latents x₀ of the image, (B, …), for solvers with a prior q(z | x₀).
        """
        z_clean = at_least_float32(z_clean)
        step = self if self.c is None else replace(self, c=self.c.to(z_clean))
        low, high = self.spectrum()

        def g(z: Tensor) -> Tensor:
            return step.inverse_step(z_clean, m(step.scale * z, step.t).to(z.dtype))

        alpha, sigma, alpha_clean, sigma_clean = self.levels
        kept = alpha / alpha_clean
        priors = Priors(
            self.t,
            effective=Gaussian(z_clean, *self.effective),
            dense=Gaussian(z_clean, *self.dense),
            path=Gaussian(step._without_noise(z_clean), kept, (sigma - kept * sigma_clean) ** 2),
            whole=None if image is None else Gaussian(image, alpha, sigma**2),
        )
        return StepEquation(
            g,
            target=z_clean,
            gain=self.a,
            bounds=(1.0 - high / self.a, 1.0 - low / self.a),
            lowest=self.lowest,
            priors=priors,
        )


def add_noise(clean: Tensor, end: tuple[float, float], levels: tuple[float, float], noise: Tensor) -> Tensor:
    """(α/α′)·clean + √(σ² − (ασ′/α′)²)·noise: latents with white noise added.

    Args:
        clean: latents (B, …) at the levels ``end``.
        end: α′, σ′ of ``clean``.
        levels: α, σ of the result; where ``clean`` has as much noise already, none is added.
        noise: white noise, of a shape that broadcasts to ``clean``.

    >>> add_noise(torch.ones(1, 1), (1.0, 0.0), (0.8, 0.6), torch.full((1, 1), 2.0)).item()
    2.0
    """
    kept = levels[0] / end[0]
    return kept * clean + math.sqrt(max(levels[1] ** 2 - (kept * end[1]) ** 2, 0.0)) * noise.to(clean)


Schedule = tuple[Step, ...]
"""Sampling steps, noisy to clean; inversion takes them in reverse."""


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
            problem = f"at t={t:g} no signal is left (zero terminal SNR), and a noise prediction cannot recover it"
            raise RnriError(f"{problem}; use a network that predicts v, or start at an earlier timestep")
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
