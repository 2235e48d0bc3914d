"""The networks of metrics, each loaded when it is first needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rnri.metrics.weights import CLIP, DINO

if TYPE_CHECKING:
    from rnri.metrics.clip import Clip
    from rnri.metrics.lpips import Lpips
    from rnri.metrics.structure import Dino
    from rnri.scenes.reader import Reader


@dataclass(frozen=True)
class Networks:
    """The sources of networks: ``clip`` and ``dino`` are folders or Hub ids, ``lpips`` is a folder.

    Each attribute raises ``ValueError`` with the command that fetches its weights if they are not there.
    """

    clip_source: str = CLIP
    dino_source: str = DINO
    lpips_folder: Path | None = None
    device: str | torch.device = "cpu"

    @cached_property
    def squeeze(self) -> Lpips:
        """LPIPS on SqueezeNet."""
        from rnri.metrics.lpips import Lpips

        return Lpips.load("squeeze", self.lpips_folder).to(self.device)

    @cached_property
    def alex(self) -> Lpips:
        """LPIPS on AlexNet."""
        from rnri.metrics.lpips import Lpips

        return Lpips.load("alex", self.lpips_folder).to(self.device)

    @cached_property
    def clip(self) -> Clip:
        """CLIP, of pictures and text."""
        from rnri.metrics.clip import Clip

        return Clip.load(self.clip_source, device=self.device)

    @cached_property
    def dino(self) -> Dino:
        """DINO's vision transformer."""
        from rnri.metrics.structure import Dino

        return Dino.load(self.dino_source, device=self.device)

    @cached_property
    def reader(self) -> Reader:
        """The attribute reader of the embedded scenes."""
        from rnri.scenes.reader import Reader

        return Reader.load(device=self.device)

    def require(self, needs: str | None) -> None:
        """Load what a metric needs (:attr:`rnri.metrics.metric.Metric.needs`)."""
        if needs:
            getattr(self, needs.removeprefix("lpips-"))
