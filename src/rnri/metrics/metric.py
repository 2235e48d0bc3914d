"""Metrics: one number for one picture, with a direction, from the picture and what it should be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from rnri_core.errors import RnriError
from torch import Tensor

if TYPE_CHECKING:
    from rnri.metrics.networks import Networks
    from rnri.scenes.attributes import Attribute


@dataclass(frozen=True, eq=False)
class Judged:
    """One edited picture, and everything known of what it should be. All pictures have one size.

    Attributes:
        image: the edit, (1, 3, H, W) in [-1, 1].
        source: the picture that was edited.
        truth: the picture that it should be, where that is known.
        mask: (1, 1, H, W) of bool, true where it may differ from ``source``.
        source_prompt, target_prompt: of source and edit.
        before, after: attributes of source and truth, for scenes.
    """

    image: Tensor
    source: Tensor
    truth: Tensor | None = None
    mask: Tensor | None = None
    source_prompt: str = ""
    target_prompt: str = ""
    before: tuple[Attribute, ...] | None = None
    after: tuple[Attribute, ...] | None = None

    @property
    def background(self) -> Tensor | None:
        """Where the picture should equal its source, (1, 1, H, W) of bool; ``None`` without a mask."""
        return None if self.mask is None else ~self.mask


@dataclass(frozen=True)
class Metric:
    """A number for one picture, ``None`` where it is undefined: one of the background, for a picture without any.

    Attributes:
        about: one line, for reports.
        better: the direction that is good.
        score: computes it.
        unit: for reports.
        power: the power of ten that reports multiply it by.
        needs: name of the weights that it needs (:mod:`rnri.metrics.weights`).

    >>> metric = Metric("share of the mask", "lower", lambda judged, _: judged.mask and judged.mask.double().mean())
    >>> print(metric(Judged(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)), None))
    None
    """

    about: str
    better: Literal["higher", "lower"]
    score: Callable[[Judged, Networks], Tensor | float | None]
    unit: str = ""
    power: int = 0
    needs: str | None = None

    def __call__(self, judged: Judged, networks: Networks) -> float | None:
        """The number, or ``None`` where it is undefined."""
        score = self.score(judged, networks)
        value = math.nan if score is None else float(score)
        return None if math.isnan(value) else value

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is."""
        return 1 if self.better == "higher" else -1

    @property
    def factor(self) -> float:
        """What reports multiply it by."""
        return 10.0**self.power


Compare = Callable[[Tensor, Tensor, "Tensor | None", "Networks"], Tensor]
"""(image, reference, where, networks) → a number per image, over the pixels of ``where`` or all."""
Score = Callable[[Judged, "Networks"], "Tensor | float | None"]


def to_truth(compare: Compare) -> Score:
    """A score that compares the whole picture with the true one; undefined where that is not known."""
    return lambda judged, networks: (
        None if judged.truth is None else compare(judged.image, judged.truth, None, networks)
    )


def of_background(compare: Compare) -> Score:
    """A score that compares the background with the source's; undefined without a mask."""
    return lambda judged, networks: (
        None if judged.background is None else compare(judged.image, judged.source, judged.background, networks)
    )


def blackened(compare: Compare) -> Score:
    """A score in the form of PIE-Bench: the mask painted black in both pictures, which are then compared whole.

    Undefined without a mask, and where the mask leaves no background.
    """

    def score(judged: Judged, networks: Networks) -> Tensor | None:
        if judged.background is None or not judged.background.any():
            return None
        image, source = (torch.where(judged.background, each, -1.0) for each in (judged.image, judged.source))
        return compare(image, source, None, networks)

    return score


def pixel_metrics(
    name: str, better: Literal["higher", "lower"], compare: Compare, note: str = "", **shown: Any
) -> tuple[Metric, Metric, Metric]:
    """One comparison of pictures as three metrics: to the truth, of the background, and in the form of PIE-Bench.

    ``shown`` are ``unit``, ``power`` and ``needs`` of :class:`Metric`; ``note`` ends the descriptions.
    """
    background = f"{name} of the background to the source's, over its own pixels{note}"
    published = f"PIE-Bench: {name} to the source with the mask black in both, over the whole frame{note}"
    return (
        Metric(f"{name} to the true picture{note}", better, to_truth(compare), **shown),
        Metric(background, better, of_background(compare), **shown),
        Metric(published, better, blackened(compare), **shown),
    )


def of_attributes(
    measure: Callable[[Sequence[Attribute], Sequence[Attribute], Sequence[Attribute]], float | None],
) -> Score:
    """A score of the attributes that the reader reads, beside those of source and truth; undefined but for scenes."""

    def score(judged: Judged, networks: Networks) -> float | None:
        if judged.before is None or judged.after is None:
            return None
        return measure(networks.reader.read(judged.image)[0], judged.before, judged.after)

    return score


def check_pair(image: Tensor, reference: Tensor, where: Tensor | None = None) -> None:
    """Raise ``ValueError`` unless (B, 3, H, W), (B or 1, 3, H, W) and (B or 1, 1, H, W) fit together."""
    if image.ndim != 4 or image.shape[1:] != reference.shape[1:] or len(reference) not in (1, len(image)):
        shapes = f"{tuple(image.shape)} and {tuple(reference.shape)}"
        raise RnriError(f"images of shapes {shapes} cannot be compared", hint="resize one to the other")
    if where is not None and (where.shape[2:] != image.shape[2:] or len(where) not in (1, len(image))):
        raise RnriError(f"a mask of shape {tuple(where.shape)} does not fit images of shape {tuple(image.shape)}")


def average(values: Tensor, where: Tensor | None = None) -> Tensor:
    """The mean of (B, C, H, W) over channels and pixels in float64, (B,); of those of weight ``where`` if given.

    Not a number where the weights add up to nothing.

    >>> average(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[False, True]]]]))
    tensor([3.], dtype=torch.float64)
    """
    flat = values.double().mean(1, keepdim=True)
    if where is None:
        return flat.flatten(1).mean(1)
    weights = where.double().expand_as(flat)
    return (flat * weights).flatten(1).sum(1) / weights.flatten(1).sum(1)


def shared(image: Tensor, reference: Tensor, where: Tensor | None) -> Tensor:
    """``image`` with the reference's pixels outside ``where``: what lies there then makes no difference.

    For metrics that look at a neighbourhood of each pixel.
    """
    return image if where is None else torch.where(where, image, reference)
