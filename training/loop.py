"""The one training loop: Muon, constant learning rate, moving average, resumable checkpoints, one line per report."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from training.muon import Muon, split

Network = TypeVar("Network", bound=nn.Module)


def report(stage: str, step: int, steps: int, **figures: float) -> None:
    """Print one machine-readable line of progress."""
    rounded = {name: float(f"{value:.5g}") for name, value in figures.items()}
    print(json.dumps({"stage": stage, "step": step, "of": steps, **rounded}), flush=True)


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast() -> torch.autocast:
    """bfloat16 where the hardware multiplies it natively, else plain float32."""
    where = device().type
    native = where == "cuda" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(where, torch.bfloat16, enabled=native)


def fit(
    stage: str,
    model: Network,
    loss: Callable[[Network, torch.Generator], tuple[Tensor, dict[str, float]]],
    folder: Path,
    *,
    steps: int,
    rate: float,
    seed: int,
    minutes: float | None = None,
    decay: float = 0.1,
    warmup: int = 100,
    average: float = 0.999,
    weight_decay: float = 0.01,
    save_every: int = 250,
) -> Network:
    """Minimise ``loss`` for ``steps`` optimiser steps and return the moving average of the weights.

    Ends earlier after ``minutes`` of this call, if given.

    ``loss(model, generator)`` draws its own batch with the generator and returns the loss and figures to report. Muon
    trains the matrices and convolutions, AdamW the other weights, at one learning rate: it rises to ``rate`` over
    ``warmup`` steps, stays there, and falls to zero on a line over the last share ``decay`` of the run (Hu et al. 2024,
    "MiniCPM", section 4). So a run may be stopped at any step, and a later one may go on from its weights with fresh
    optimisers. A checkpoint ``<folder>/<stage>.pt`` is replaced every ``save_every`` steps, and a later call goes on
    from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.to(device()).train()
    inner, outer = split(model)
    optimisers: list[torch.optim.Optimizer] = [
        Muon(inner, lr=rate, weight_decay=weight_decay),
        torch.optim.AdamW(outer, lr=rate, betas=(0.9, 0.99), weight_decay=weight_decay),
    ]
    mean = copy.deepcopy(model).eval().requires_grad_(False)
    checkpoint = _Checkpoint(folder / f"{stage}.pt", model, mean, optimisers)
    start = done = checkpoint.load()
    sums: dict[str, float] = {}
    clock = began = time.monotonic()
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)  # a resumed run draws what it would have
        elapsed = (time.monotonic() - began) / (60 * minutes) if minutes else 0.0
        left = 1 - max(step / steps, elapsed)
        if left <= 0:
            break
        factor = min(1.0, (step + 1) / warmup, left / decay if decay else 1.0)
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = rate * factor
        with autocast():
            value, figures = loss(model, generator)
        model.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        norm = nn.utils.clip_grad_norm_(inner + outer, 1.0)
        for optimiser in optimisers:
            optimiser.step()
        # The average follows quickly at first: (1 + step) / (10 + step) until it reaches its own pace.
        _follow(mean, model, min(average, (1 + step) / (10 + step)))
        for name, figure in {"loss": value.item(), "gradient": norm.item(), **figures}.items():
            sums[name] = sums.get(name, 0.0) + figure
        done = step + 1
        if done % 50 == 0 or done == steps:
            count = (step % 50) + 1 if step - start >= 50 else done - start
            speed = 1 / (time.monotonic() - clock) * count
            report(stage, done, steps, steps_per_second=speed, **{k: v / count for k, v in sums.items()})
            clock, sums = time.monotonic(), {}
        if done % save_every == 0:
            checkpoint.save(done)
    checkpoint.save(done)
    return mean


@torch.no_grad()
def _follow(mean: nn.Module, model: nn.Module, pace: float) -> None:
    """Move the average by a share 1 − ``pace`` to the weights; buffers are the model's."""
    torch._foreach_lerp_(list(mean.parameters()), list(model.parameters()), 1 - pace)
    for kept, current in zip(mean.buffers(), model.buffers(), strict=True):
        kept.copy_(current)


@dataclass(frozen=True, eq=False)
class _Checkpoint:
    """A file of a model, the average of its weights, its optimisers, and the number of steps that are done."""

    path: Path
    model: nn.Module
    mean: nn.Module
    optimisers: list[torch.optim.Optimizer]

    def load(self) -> int:
        """Load the file, if there is one; returns the number of steps."""
        if not self.path.exists():
            return 0
        saved = torch.load(self.path, map_location=device(), weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.mean.load_state_dict(saved["mean"])
        for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        return int(saved["step"])

    def save(self, step: int) -> None:
        """Write the file whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "mean": self.mean.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": step,
        }
        torch.save(state, self.path.with_suffix(".tmp"))
        os.replace(self.path.with_suffix(".tmp"), self.path)
