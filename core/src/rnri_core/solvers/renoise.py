"""ReNoise: averages of repeated network outputs, and their regularisation towards white noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from rnri_core import publications
from rnri_core.solvers.base import Method, option
from rnri_core.solvers.equation import Equation
from rnri_core.solvers.step_equation import Gaussian, priors
from rnri_core.solvers.white_noise import Whitening


class State(NamedTuple):
    """``left`` iterations to go, the values of g to average, and g at the noised image once it is evaluated."""

    left: int
    values: tuple[Tensor, ...]
    reference: Tensor | None


@dataclass(frozen=True)
class Renoise(Method):
    """z ← g(z), and at the end the mean of the last ``window`` values of g, or of the first ``near`` below ``band``.

    g is affine in the network's output, so this averages outputs as the paper does. Where no number is given, a step
    takes the iterations of the authors' code for SDXL-Turbo: 10, of which the last two are averaged, and 6 below
    timestep 250, of which the first five are averaged. An equation without a timestep is in no band.

    With ``kl`` or ``correlation`` the noise along which g(z) leaves the clean end is made whiter in the iterations that
    are averaged and after, and so is the mean: by descent on the divergence of its patches from those at the noised
    image, at the price of one more call, and on its auto-correlation. The authors use 0.065 and 20; here both are
    off unless given, as they cost fidelity.

    Their noise correction, which moves frozen noise until the step ends at the image, is ``invert(…,
    noise_maps=True)``: frozen noise and noise maps enter a step alike.

    >>> Renoise().iterations(999.0), Renoise().iterations(249.0)
    (10, 6)
    """

    source: ClassVar = publications.RENOISE
    passage: ClassVar = "Algorithm 1; iterations, averages and regularisation as in the published code"

    window: int = option(2, "how many of the last values are averaged", low=1, high=1000)
    band: float = option(250.0, "below this timestep the first values are averaged; 0 for none", low=0.0)
    near: int = option(5, "how many of the first values are averaged there", low=1, high=1000)
    kl: float = option(0.0, "the weight of the patch divergence", low=0.0)
    correlation: float = option(0.0, "the weight of the auto-correlation", low=0.0)
    rounds: int = option(4, "how often both are descended, each time", low=1, high=32)
    rolls: int = option(5, "how many random shifts a descent of the auto-correlation takes", low=1, high=32)
    seed: int = option(0, "seed of the shifts and of the noised image", low=0, high=2**63 - 1)

    def init(self, z: Tensor, max_iter: int) -> State:
        return State(max_iter, (), None)

    def iterations(self, t: float | None) -> int:
        """One after the last value that is averaged below ``band``, 10 elsewhere."""
        return self.near + 1 if t is not None and t < self.band else 10

    def update(self, eq: Equation, z: Tensor, gz: Tensor, state: State) -> tuple[Tensor, State]:
        values, reference, step_priors = (*state.values, gz), state.reference, priors(eq)
        near = step_priors is not None and step_priors.t < self.band
        values = values[: self.near] if near else values[-self.window :]
        point = torch.stack(values).mean(0) if state.left == 1 else gz
        if step_priors is not None and (self.kl or self.correlation) and (near or state.left <= self.window):
            if self.kl and reference is None:
                reference = eq(self._noised(step_priors.image, point))
            point = self._whiter(step_priors.path, point, reference)
        return point, State(state.left - 1, values, reference)

    def _whiter(self, path: Gaussian, point: Tensor, reference: Tensor | None) -> Tensor:
        """``point`` with its noise regularised towards that of ``reference``."""
        points = (point, point if reference is None else reference)
        noise, there = ((each - path.mean) / path.deviation for each in points)
        whitening = Whitening(self.kl, self.correlation, self.rounds, self.rolls, self.seed)
        return path.mean + path.deviation * whitening(noise, there)

    def _noised(self, image: Gaussian, like: Tensor) -> Tensor:
        """A sample of q(z | x₀), with the same noise for every image and step."""
        noise = torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(self.seed)).to(like)
        return image.mean + image.deviation * noise
