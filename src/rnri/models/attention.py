"""Attention hooks on a diffusers UNet, and the token positions of the words of a prompt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from rnri_core.errors import RnriTypeError
from rnri_core.threads import TOKENIZERS, running
from torch import Tensor

from rnri.models.attention_hooks import INNER, AttentionHook, AttentionLayer
from rnri.models.base import Model


@contextmanager
def attending(model: Model, hooks: Sequence[AttentionHook]) -> Iterator[Callable[[int], None]]:
    """Within the block, and for the thread that entered it, the model's network calls the hooks, first to last.

    Nothing runs compiled meanwhile: hooks would have it compiled again. Afterwards all is as it was, also when the
    block raises. Without hooks it does nothing.

    Yields:
        A function to call with the index of the sampling step before its network evaluations; 0 until then.

    Raises:
        RnriTypeError: for hooks on a model that has no UNet.
    """
    if not hooks:
        yield lambda step: None
        return
    unet, current = _unet(model), _Current(threading.get_ident())
    with running(alone=True), torch.compiler.set_stance("force_eager"):
        before = dict(unet.attn_processors)
        layers = _layers(unet)

        def called(_: Any, __: Any, hidden: Tensor) -> Tensor:
            if threading.get_ident() == current.thread:
                for hook in hooks:
                    hidden = hook.feature(current.step, hidden)
            return hidden

        handle = _residual(unet).register_forward_hook(called)
        try:
            hooked = {name: _Processor(layers[name], hooks, before[name], current) for name in before}
            unet.set_attn_processor(hooked)
            yield current.begin
        finally:
            handle.remove()
            unet.set_attn_processor(before)


def attention_layers(model: Model) -> tuple[AttentionLayer, ...]:
    """The attention layers of a model's network. Raises RnriTypeError for a model that has no UNet."""
    return tuple(_layers(_unet(model)).values())


TokenSpans = tuple[tuple[str, tuple[int, ...]], ...]
"""The words of a prompt, each with the positions of its tokens."""


def token_spans(model: Model, prompt: str, length: int) -> TokenSpans:
    """The words of a prompt, each with the positions of its tokens among the ``length`` that the network reads.

    Position 0 is the beginning of text; after the last word come its end and padding. Words are as the tokenizer has
    them, in lower case.

    Raises:
        RnriTypeError: for a model whose tokenizer does not mark where words end.
    """
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise RnriTypeError(f"{model.name} has no tokenizer that marks words", hint="use a Stable Diffusion model")
    with TOKENIZERS:
        ids = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
    pieces = tokenizer.convert_ids_to_tokens(ids)
    words: list[tuple[str, tuple[int, ...]]] = []
    begun: list[int] = []
    for position, piece in enumerate(pieces[: length - 2], start=1):
        begun.append(position)
        if piece.endswith(_END) or position == length - 2:
            text = "".join(pieces[at - 1].removesuffix(_END) for at in begun)
            words.append((text, tuple(begun)))
            begun = []
    if begun:
        raise RnriTypeError(f"{model.name}'s tokenizer does not mark where words end", hint="use one with CLIP's")
    return tuple(words)


_END = "</w>"


class _Current:
    """The thread whose network calls are hooked, and the sampling step that it is at."""

    def __init__(self, thread: int) -> None:
        self.thread, self.step = thread, 0

    def begin(self, step: int) -> None:
        self.step = step


class _Processor:
    """Attention as diffusers computes it in a transformer block, with hooks on the way."""

    def __init__(self, layer: AttentionLayer, hooks: Sequence[AttentionHook], plain: Any, current: _Current) -> None:
        self.layer, self.hooks, self.plain, self.current = layer, hooks, plain, current

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        if threading.get_ident() != self.current.thread:
            plain: Tensor = self.plain(attn, hidden_states, encoder_hidden_states, attention_mask, **more)
            return plain
        keyed = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        at = self.current.step, self.layer

        def heads(x: Tensor) -> Tensor:
            return x.reshape(*x.shape[:-1], attn.heads, -1).transpose(1, 2)

        q, k, v = heads(attn.to_q(hidden_states)), heads(attn.to_k(keyed)), heads(attn.to_v(keyed))
        if attn.norm_q is not None:
            q, k = attn.norm_q(q), attn.norm_k(k)
        for hook in self.hooks:
            q, k, v = hook.project(*at, q, k, v)
        active = [hook for hook in self.hooks if hook.needs_probabilities(*at)]
        if active:
            scores = q.float() @ k.float().transpose(-1, -2)  # those of Stable Diffusion 2 are too large for float16
            probabilities = (scores * q.shape[-1] ** -0.5).softmax(-1)
            for hook in active:
                probabilities = hook.probabilities(*at, probabilities)
            for hook in active:
                probabilities = hook.rescale(*at, probabilities)
            for hook in active:
                hook.observe_probabilities(*at, probabilities)
            output = probabilities.to(v.dtype) @ v
        else:
            output = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        output = attn.to_out[1](attn.to_out[0](output.transpose(1, 2).flatten(2)))
        if attn.residual_connection:
            output = output + hidden_states
        rescaled: Tensor = output / attn.rescale_output_factor
        return rescaled


def _unet(model: Model) -> Any:
    """The network, if it can be hooked."""
    unet = model.unet
    if not hasattr(unet, "set_attn_processor"):
        raise RnriTypeError(
            f"{model.name} has no attention to hook", hint="controls of attention need Stable Diffusion's UNet"
        )
    return unet


def _layers(unet: Any) -> dict[str, AttentionLayer]:
    """The attention layers by diffusers' names of them; the order of execution is down, middle, up."""
    parts: tuple[Literal["down", "mid", "up"], ...] = ("down", "mid", "up")
    levels = _levels(unet)
    ordered = [(part, name) for part in parts for name in unet.attn_processors if name.startswith(part)]
    layers: dict[str, AttentionLayer] = {}
    for cross in (False, True):
        kind = [(part, name) for part, name in ordered if (".attn2." in name) is cross]
        for index, (part, name) in enumerate(kind):
            block, _, inner = name.partition(".attentions.")
            layers[name] = AttentionLayer(part, cross, index, len(kind), levels[block], int(inner.partition(".")[0]))
    return layers


def _levels(unet: Any) -> dict[str, int]:
    """How often the latents were halved on the way to each block, by its name."""
    level, found = 0, {}
    for n, block in enumerate(unet.down_blocks):
        found[f"down_blocks.{n}"] = level
        level += bool(block.downsamplers)
    found["mid_block"] = level
    for n, block in enumerate(unet.up_blocks):
        found[f"up_blocks.{n}"] = level
        level -= bool(block.upsamplers)
    return found


def _residual(unet: Any) -> Any:
    """The last convolution of the decoder's second residual block at level 2, or at the deepest if none is as deep."""
    levels = _levels(unet)
    inner = min(INNER, levels["mid_block"])
    (block, *_) = (each for n, each in enumerate(unet.up_blocks) if levels[f"up_blocks.{n}"] == inner)
    return block.resnets[1].conv2
