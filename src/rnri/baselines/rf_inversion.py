"""RF-Inversion: a flow controlled towards noise while inverting, and towards the picture while sampling."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from rnri_core import publications
from rnri_core.registry import option
from torch import Tensor

from rnri.baselines.canvas import Canvas, Rival
from rnri.baselines.flow import sigmas, velocity


@dataclass(frozen=True)
class RFInversion(Rival):
    """Invert by v + γ·(v_noise − v), sample by v + η·(v_picture − v): optimal control of a rectified flow.

    v_noise leads straight to one frozen noise and v_picture straight to the picture. With η = 1 to the end the picture
    is given back whatever the prompt. The inversion has the source prompt; that of the published code has none.
    """

    source = publications.RF_INVERSION
    passage = "Algorithms 1 and 2"

    gamma: float = option(0.5, "γ, how far inverting is steered to white noise", low=0.0, high=1.0)
    eta: float = option(0.9, "η, how far sampling is steered to the picture", low=0.0, high=1.0)
    stop: float = option(0.25, "share of the steps that are steered", low=0.0, high=1.0)

    def draw(self, canvas: Canvas, guidance: float) -> Tensor:
        levels = sigmas(canvas, "rf-inversion")
        noise, z = canvas.noise(), canvas.clean
        v = velocity(canvas, [canvas.source])
        for sigma, end in zip(levels[:0:-1], levels[-2::-1], strict=True):
            free = v(z, sigma)
            z = z + (end - sigma) * (free + self.gamma * ((noise - z) / (1 - sigma) - free))
        v, z = velocity(canvas, canvas.targets, guidance), canvas.spread(z)
        for k, (sigma, end) in enumerate(pairwise(levels)):
            free = v(z, sigma)
            steered = self.eta if k + 0.5 < self.stop * (len(levels) - 1) else 0.0
            z = z + (end - sigma) * (free + steered * ((z - canvas.clean) / sigma - free))
        return z
