"""The networks of a model: their weights wherever they are offloaded to, a digest of them, and hooks on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


def weights(network: torch.nn.Module) -> Iterator[Tensor]:
    """A network's parameters in order, wherever they are offloaded to."""
    trained = {name for name, _ in network.named_parameters()}
    return (each for name, each in named_weights(network) if name in trained)


def named_weights(network: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name; those that accelerate keeps elsewhere are fetched from there."""
    kept = network.state_dict(keep_vars=True)
    for prefix, module in network.named_modules():
        elsewhere = getattr(getattr(module, "_hf_hook", None), "weights_map", None)
        for name, each in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            full = f"{prefix}.{name}" if prefix else name
            if full in kept:
                yield full, elsewhere[name] if each.is_meta and elsewhere is not None else each


def digest(networks: Iterable[torch.nn.Module], settings: str) -> str:
    """Sixteen hexadecimal digits of some 64 values of every weight tensor, rounded to bfloat16, and of settings."""
    sha = hashlib.sha256(settings.encode())
    for network in networks:
        tensors = [weight.detach().flatten() for weight in weights(network)]
        sha.update(repr([len(weight) for weight in tensors]).encode())
        samples = torch.cat([weight[:: max(1, len(weight) // 64)].bfloat16() for weight in tensors])
        sha.update(samples.view(torch.int16).cpu().numpy().tobytes())
    return sha.hexdigest()[:16]


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
    """Whether any layer of the networks is bound."""
    return any(bound(module) for network in networks for module in network.modules())
