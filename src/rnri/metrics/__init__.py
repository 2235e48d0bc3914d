"""Metrics of edits: one file each, one number per image, with a declared direction."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from rnri_core.errors import RnriError

from rnri.metrics.metric import Judged, Metric
from rnri.metrics.networks import Networks
from rnri.metrics.psnr import psnr

METRICS: Mapping[str, str] = {
    "psnr": "psnr:PSNR",
    "ssim": "ssim:SSIM",
    "mse": "mse:MSE",
    "lpips-squeeze": "lpips:LPIPS_SQUEEZE",
    "lpips-alex": "lpips:LPIPS_ALEX",
    "reader-distance": "reader_distance:READER_DISTANCE",
    "psnr-background": "psnr:PSNR_BACKGROUND",
    "ssim-background": "ssim:SSIM_BACKGROUND",
    "mse-background": "mse:MSE_BACKGROUND",
    "lpips-squeeze-background": "lpips:LPIPS_SQUEEZE_BACKGROUND",
    "lpips-alex-background": "lpips:LPIPS_ALEX_BACKGROUND",
    "reader-distance-background": "reader_distance:READER_DISTANCE_BACKGROUND",
    "structure": "structure:STRUCTURE",
    "structure-background": "structure:STRUCTURE_BACKGROUND",
    "clip": "clip:CLIP_WHOLE",
    "clip-edited": "clip:CLIP_EDITED",
    "target-accuracy": "target_accuracy:TARGET_ACCURACY",
    "leakage": "leakage:LEAKAGE",
    "structure_distance": "structure:STRUCTURE_DISTANCE",
    "psnr_unedit_part": "psnr:PSNR_UNEDIT_PART",
    "lpips_unedit_part": "lpips:LPIPS_UNEDIT_PART",
    "mse_unedit_part": "mse:MSE_UNEDIT_PART",
    "ssim_unedit_part": "ssim:SSIM_UNEDIT_PART",
    "clip_similarity_source_image": "clip:CLIP_SOURCE_IMAGE",
    "clip_similarity_target_image": "clip:CLIP_TARGET_IMAGE",
    "clip_similarity_target_image_edit_part": "clip:CLIP_EDIT_PART",
}
"""Name to module and attribute of its :class:`Metric`. Names with ``_`` are PIE-Bench's, in its own form."""

__all__ = ["METRICS", "Judged", "Metric", "Networks", "metric", "psnr"]


def metric(name: str) -> Metric:
    """The metric of this name. Raises ``RnriError`` for a name that is not in :data:`METRICS`.

    >>> metric("psnr").better
    'higher'
    """
    if name not in METRICS:
        raise RnriError(f"no metric is called {name!r}", hint=f"use {', '.join(METRICS)}")
    module, _, attribute = METRICS[name].partition(":")
    kind: Metric = getattr(import_module(f"rnri.metrics.{module}"), attribute)
    return kind
