"""One fixed-point equation z = g(z) per image, for a batch at once, which counts its evaluations.

An :class:`Equation` is no part of a diffusion model: a solver that works on it works on any fixed-point problem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from rnri_core.threads import running


def dot(x: Tensor, y: Tensor) -> Tensor:
    """Inner product of each image of ``x`` with the same image of ``y``, both (B, …); shape (B, 1, …, 1).

    Summed one image at a time: a reduction over a whole batch may add in another order than one over a single
    image, and a batch must equal one by one to the last bit.

    >>> dot(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([[25.]])
    """
    sums = [(p * q).sum() for p, q in zip(x, y, strict=True)]
    return torch.stack(sums).view(-1, *[1] * (x.ndim - 1))


def norm(x: Tensor) -> Tensor:
    """Euclidean length of each image of ``x`` (B, …); shape (B, 1, …, 1).

    >>> norm(torch.tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """
    return dot(x, x).sqrt()


def l1(x: Tensor) -> Tensor:
    """Sum of absolute values of each image of ``x`` (B, …); shape (B, 1, …, 1).

    >>> l1(torch.tensor([[3.0, -4.0]]))
    tensor([[7.]])
    """
    return dot(x.abs(), torch.ones_like(x))


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32, or as it is when its precision is higher: the precision of solvers.

    >>> at_least_float32(torch.ones(1, dtype=torch.float16)).dtype
    torch.float32
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def calls(nfe: int, njvp: int = 0, nvjp: int = 0) -> int:
    """Network calls, an exact Jacobian product counted as two: nfe + 2·njvp + 2·nvjp.

    >>> calls(3, nvjp=2)
    7
    """
    return nfe + 2 * (njvp + nvjp)


class _PlainAttention(TorchFunctionMode):
    """Attention as products and a softmax, for this thread: `torch.nn.attention.sdpa_kernel` is for all of them."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_attention_math(*args, **(kwargs or {}))[0]
        return function(*args, **(kwargs or {}))


class Equation:
    """z = g(z), one root per image of the batch.

    ``gain`` and ``target`` fix the unit of the residual |gain|·‖g(z) − z‖ / ‖target‖ (absolute without a target).
    Args:
        g: maps points (B, …) to points (B, …), image by image.
        target: what the residual |gain|·‖g(z) − z‖ / ‖target‖ is relative to, (B, …); without one it is absolute.
        gain: factor of the residual.
        bounds: an interval that contains the eigenvalues of ∂g/∂z, as far as it is known beforehand.
        lowest: hardly any eigenvalue is expected below this.

    Attributes:
        nfe, njvp, nvjp: calls of g, exact Jacobian products and exact transposed products. A call on a batch counts
            once; a product costs about two calls.

    >>> eq = Equation(lambda z: z.cos())
    >>> z = torch.full((1, 1), 0.7390851332)
    >>> eq.residual(z, eq(z)).item() < 1e-7, eq.nfe
    (True, 1)
    """

    def __init__(
        self,
        g: Callable[[Tensor], Tensor],
        *,
        target: Tensor | None = None,
        gain: float = 1.0,
        bounds: tuple[float, float] = (-1.0, 1.0),
        lowest: float = 0.0,
    ) -> None:
        self._g = g
        self._length = None if target is None else norm(target).clamp_min(torch.finfo(target.dtype).tiny)
        self.gain = gain
        self.bounds = bounds
        self.lowest = lowest
        self.nfe = self.njvp = self.nvjp = 0

    def __call__(self, z: Tensor) -> Tensor:
        """g(z) for ``z`` (B, …), without a graph; one call."""
        self.nfe += 1
        with torch.no_grad():
            return self._g(z)

    def residual(self, z: Tensor, gz: Tensor) -> Tensor:
        """|gain|·‖g(z) − z‖ / ‖target‖ for each image, shape (B,); ``gz`` is g(z), so this is free."""
        length = abs(self.gain) * norm(gz - z)
        return (length if self._length is None else length / self._length).flatten()

    def difference(self, z: Tensor, gz: Tensor, v: Tensor, *, relative: float = 1e-3) -> Tensor:
        """(∂g/∂z)·v by a forward difference of length ``relative``·‖z‖; one call, counted in ``nfe``.

        Args:
            z, gz, v: the point, g there and the direction, all (B, …).
            relative: length of the difference, relative to ‖z‖ but at least to 1.
        """
        length = norm(v)
        h = relative * norm(z).clamp_min(1.0) / torch.where(length > 0, length, 1.0)
        return (self(z + h * v) - gz) / h

    def jvp(self, z: Tensor, v: Tensor) -> Tensor:
        """(∂g/∂z)·v, exact, in forward mode, all (B, …); attention runs in its plain form, which has a tangent."""
        self.njvp += 1
        with running(alone=True), _PlainAttention(), torch.no_grad():
            tangent: Tensor = torch.func.jvp(self._g, (z,), (v,))[1]
        return tangent

    def vjp(self, z: Tensor, w: Tensor) -> Tensor:
        """(∂g/∂z)ᵀ·w, exact, in reverse mode, all (B, …)."""
        self.nvjp += 1
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            return torch.autograd.grad(self._g(z), z, w)[0]
