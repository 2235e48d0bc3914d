"""Offloading, memory layout, fusing and compiling, none of which changes outputs beyond rounding."""

from __future__ import annotations

from typing import Any

import torch
from rnri_core.errors import RnriError

from rnri.models.components import needs
from rnri.models.loading import Loading


def check_place(device: torch.device, loading: Loading) -> None:
    """Raise RnriError for offloading that cannot be done here."""
    if loading.offload != "none":
        needs("accelerate", "offload", f"offload {loading.offload!r}")
    if loading.offload == "sequential" and device.type == "cpu":
        raise RnriError("offload 'sequential' needs an accelerator", hint="on the CPU there is nothing to bring over")


def fuse(network: Any) -> None:
    """Fuse the projections to queries, keys and values into one product; weights must not be offloaded by layer yet.

    Raises RnriError for a network in which there is nothing to fuse.
    """
    if hasattr(network, "fuse_qkv_projections"):
        network.fuse_qkv_projections()
    if not any(getattr(module, "fused_projections", False) for module in network.modules()):
        raise RnriError(f"{type(network).__name__} cannot fuse queries, keys and values", hint="leave fuse_qkv out")


def prepare(network: Any, vae: Any, device: torch.device, loading: Loading) -> None:
    """Set the memory layout and compile by the options; channels last is the default on CUDA.

    Raises RnriError for CUDA graphs on other devices.
    """
    convolves = any(isinstance(module, torch.nn.Conv2d) and module.kernel_size != (1, 1) for module in vae.modules())
    wanted = device.type == "cuda" if loading.channels_last is None else loading.channels_last
    if wanted and convolves and loading.offload == "none":
        for each in (network, vae):
            each.to(memory_format=torch.channels_last)
    if loading.cuda_graphs:
        if device.type != "cuda":
            raise RnriError(f"there are no CUDA graphs on {device.type}", hint="leave cuda_graphs out")
        network.compile(mode="reduce-overhead")
    if loading.compile:
        if getattr(network, "_repeated_blocks", None):
            network.compile_repeated_blocks()
        else:
            network.compile()
