"""Networks whose calls depend on state outside them: compiled, offloaded, or hooked to keep results."""

from __future__ import annotations

from collections.abc import Iterable

import torch


def bound(module: torch.nn.Module) -> bool:
    """Whether one thread at a time may call a module: PyTorch compiled it, or accelerate or diffusers hooked it.

    Compiling traces with flags of the process; offloading moves weights that another thread may be using.

    >>> layer = torch.nn.Linear(2, 2)
    >>> bound(layer)
    False
    >>> layer.compile()
    >>> bound(layer)
    True
    """
    compiled = module._compiled_call_impl is not None or "_orig_mod" in module._modules
    return compiled or "_hf_hook" in vars(module) or "_diffusers_hook" in vars(module)


def bound_layers(networks: Iterable[torch.nn.Module]) -> bool:
    """Whether that holds of any layer of the networks."""
    return any(bound(module) for network in networks for module in network.modules())
