"""Muon: momentum whose matrices are made orthogonal before each step.

    M ← μ M + G        U = G + μ M        W ← (1 - η λ) W - 0.2 η √max(m, n) · orth(U)

where orth(U) = (U Uᵀ)^(-1/2) U is reached by five steps of a Newton-Schulz iteration (Jordan et al. 2024, "Muon: An
optimizer for hidden layers in neural networks"; the factor of the step is that of Liu et al. 2025, "Muon is Scalable
for LLM Training", equation 4, with which AdamW's learning rates fit). PyTorch's own takes matrices alone, one by one,
in bfloat16; this takes convolutions too, all of one shape in one batched product, in the precision of the weights.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearly orthogonal factor of each of ``(N, m, n)`` matrices: singular values between about 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    output: Tensor = x.mT if tall else x
    return output


class Muon(torch.optim.Optimizer):
    """Muon for weights of two and more dimensions: the first against all others."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of every weight that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    moving = self.state[weight].setdefault("moving", torch.zeros_like(weight))
                    moving.mul_(group["momentum"]).add_(weight.grad)
                    update = weight.grad.add(moving, alpha=group["momentum"]).flatten(1)
                    shapes[weight.shape].append((weight, update))
            for shape, pairs in shapes.items():
                scale = 0.2 * max(shape[0], shape[1:].numel()) ** 0.5
                updates = orthogonal(torch.stack([update for _, update in pairs]))
                for (weight, _), update in zip(pairs, updates, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update.view(shape), alpha=-group["lr"] * scale)


def split(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The trained weights of ``model`` as (matrices and convolutions inside it, all others).

    The others, for AdamW: vectors, embeddings, and the convolutions that meet pixels or latents, whose few channels
    have no use for orthogonality.
    """
    embeddings = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    inner: list[nn.Parameter] = []
    outer: list[nn.Parameter] = []
    for weight in model.parameters():
        if weight.requires_grad:
            matrix = weight.ndim >= 2 and min(weight.shape[:2]) > 16 and id(weight) not in embeddings
            (inner if matrix else outer).append(weight)
    return inner, outer
