"""What all families share: the parts of a diffusers pipeline, used without the pipeline's own sampling loop."""

from __future__ import annotations

import inspect
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from rnri_core.errors import RnriError
from rnri_core.sampling.guidance import combine
from rnri_core.sampling.steps import Denoiser, Schedule
from rnri_core.sampling.strength import last
from rnri_core.threads import TOKENIZERS, WARNING_FILTERS, running
from torch import Tensor

from rnri.limits import MAX_SIDE
from rnri.load_options import Loading
from rnri.models import acceleration, autoencoder
from rnri.models.base import Condition, Defaults, Guidance
from rnri.models.components import parts_of, quiet
from rnri.models.fingerprint import digest
from rnri.models.hooks import bound, bound_layers
from rnri.models.lora import add_loras
from rnri.models.prompts import warn_of_unread
from rnri.models.schedulers import choose, noise_scale, table

WORDS = "words.json"
"""Beside the tokenizer's files: a sorted JSON list of all words the model was taught. Most models have none."""

FEW_STEPS = 4
"""What a checkpoint distilled to few steps is sampled in."""

NOISE_SAMPLERS = ("ddim", "euler", "euler-ancestral", "lcm")
"""What samples networks that predict noise, v or the image."""


class Family(ABC):
    """A text-to-image model as a `rnri.models.base.Model`, on the parts of a diffusers pipeline.

    A family says what it is made of and gives two hooks: `read`, prompts to tensors, and `predict`, the network's
    output. Where its pipeline reads negative prompts or means guidance otherwise than most, there are `read_negative`,
    `combine` and `guidance_threshold`. Weights are shared with the pipeline it is given, which is not changed. `words`
    are those the model knows; without them prompts are only checked for length.
    """

    title: ClassVar[str]
    examples: ClassVar[tuple[str, ...]]
    """Checkpoints on the Hub that this family serves, to name some."""
    network_part: ClassVar[str] = "transformer"
    parts: ClassVar[dict[str, tuple[str | None, ...]]]
    """Folder in the standard layout → classes that may lie in it: None where it may be empty, nothing where any may."""
    samplers: ClassVar[tuple[str, ...]] = ("flow",)
    patch: ClassVar[int] = 2
    """Latent elements along one side of what the network sees as one token."""
    max_tokens: ClassVar[int | None] = None
    """Of a prompt, specials included; None where the tokenizer says."""
    steps: ClassVar[int] = 30
    """What is best where nothing is distilled to fewer."""
    recommended: ClassVar[str]
    """Guidance to edit with."""
    guidance_threshold: float = 1.0
    """Guidance is active above this: see `combine`."""
    gigabytes: ClassVar[float]
    """Weights of the first example in 16 bits, text encoders included, about."""
    replayed = False
    """Whether the network writes each output where its last one was, as CUDA graphs do."""

    def __init__(
        self,
        name: str,
        pipe: Any,
        *,
        words: Sequence[str] = (),
        defaults: Defaults | None = None,
        preview: Any = None,
        scheduler: str | None = None,
        spacing: str | None = None,
    ) -> None:
        self.name, self.pipe, self.words = name, pipe, frozenset(words)
        self.scheduler = choose(pipe.scheduler, scheduler, spacing)
        self.vae = autoencoder.sound(pipe.vae, where=pipe._execution_device)
        self._wide_vae: Any = None
        self.tiny = preview
        self.factor = self._factor()
        self.multiple: int = self.factor * self.patch
        self.max_side = min(MAX_SIDE, self._places() * self.multiple)
        self.image_size = self._image_size()
        self.defaults = defaults or self._defaults()
        self._bound_layers = bound_layers(self.networks)

    @classmethod
    def from_folder(
        cls, name: str, folder: Path, *, device: torch.device, dtype: torch.dtype, loading: Loading
    ) -> Family:
        """The model in a folder of the standard diffusers layout.

        Raises ValueError naming the part that is missing, incomplete or of another family.
        """
        acceleration.check_place(device, loading)
        parts = parts_of(name, folder, {**cls.parts, "scheduler": ()}, dtype, loading)
        parts["scheduler"] = choose(parts["scheduler"], loading.scheduler, loading.spacing)
        kind = json.loads((folder / "model_index.json").read_text())["_class_name"]
        pipe = cls.assemble(kind, parts)
        pipe.register_modules(vae=autoencoder.sound(pipe.vae, where=torch.device("cpu")))
        add_loras(name, pipe, loading)
        words, seen = folder / "tokenizer" / WORDS, loading.preview
        model = cls(
            name,
            pipe,
            words=json.loads(words.read_text()) if words.exists() else (),
            defaults=Defaults.read(folder),
            preview=autoencoder.load_preview(seen, pipe.vae, device, dtype, loading) if seen else None,
        )
        _ = model.fingerprint  # while all weights are in one place
        model.place(device, loading)
        return model

    @classmethod
    def from_pipe(cls, pipe: Any, *, scheduler: str | None = None, spacing: str | None = None) -> Family:
        """The model in a diffusers pipeline; shares its weights."""
        origin = pipe.config.get("_name_or_path") or ""
        defaults = Defaults.read(Path(origin)) if origin else None
        return cls(origin or type(pipe).__name__, pipe, defaults=defaults, scheduler=scheduler, spacing=spacing)

    @staticmethod
    def assemble(kind: str, parts: Mapping[str, Any]) -> Any:
        """A pipeline of these parts and no others, whose scheduler is as it is given."""
        import diffusers

        with quiet():
            pipeline = getattr(diffusers, kind)
        known = inspect.signature(pipeline.__init__).parameters
        given = {name: value for name, value in parts.items() if name in known and name != "scheduler"}
        absent = [name for name, each in known.items() if name != "self" and each.default is inspect.Parameter.empty]
        with WARNING_FILTERS, quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it says of settings does not concern its parts
            pipe = pipeline(**{**dict.fromkeys(absent), **given})
        pipe.register_modules(scheduler=parts["scheduler"])
        return pipe

    def place(self, device: torch.device, loading: Loading) -> None:
        """Put the networks where they run, and make them as fast as they can be."""
        if loading.vae_tiling:
            self.vae.enable_tiling()
        if loading.vae_slicing:
            self.vae.enable_slicing()
        if loading.fuse_qkv:
            acceleration.fuse(self.network)  # before hooks keep its weights elsewhere
        if loading.offload == "model":
            self.pipe.enable_model_cpu_offload(device=device)
        elif loading.offload == "sequential":
            self.pipe.enable_sequential_cpu_offload(device=device)
        else:
            for network in self.networks:
                network.to(device)
        acceleration.prepare(self.network, self.vae, device, loading)
        self.replayed = loading.cuda_graphs
        self._bound_layers = bound_layers(self.networks)

    # --- what a family is -------------------------------------------------------------------------------------------

    @abstractmethod
    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        """Prompts to what the network reads: `tokens`, and whatever else, one row per prompt."""

    def read_negative(self, negative: str | None) -> dict[str, Tensor]:
        """The negative prompt as `read` has prompts, one row; `None` where none is given."""
        return self.read([negative or ""])

    def combine(self, conditional: Tensor, base: Tensor, guidance: float) -> Tensor:
        """The guided output as the family's pipeline makes it of those for the prompt and for the negative prompt."""
        return combine(conditional, base, guidance)

    def read_masked(self, prompts: list[str]) -> dict[str, Tensor]:
        """`read` for the pipelines that give `tokens` of one length, and the `mask` of those that count."""
        tokens, mask, *_ = self.pipe.encode_prompt(
            prompts, do_classifier_free_guidance=False, device=self.device, max_sequence_length=self.reader()[1]
        )
        return {"tokens": tokens, "mask": mask}

    @abstractmethod
    def predict(self, z: Tensor, t: Tensor, read: Mapping[str, Tensor]) -> Tensor:
        """The network's output for latents (B, C, h, w) at timesteps (B,), `read` having one row for each.

        `read["guidance"]` (B,) is there for networks that read it.
        """

    def timesteps(self, num_steps: int, shape: tuple[int, int, int]) -> dict[str, Any]:
        """What the scheduler's `set_timesteps` is told besides their number."""
        return {}

    @property
    def guidance(self) -> Guidance:
        return "classifier-free"

    @property
    def network(self) -> Any:
        """What denoises."""
        return getattr(self.pipe, self.network_part)

    def _factor(self) -> int:
        """Pixels in a latent element, along one side."""
        return autoencoder.factor(self.vae)

    def _places(self) -> int:
        """Tokens along one side that the network knows the places of."""
        return MAX_SIDE

    def tokens(self, shape: tuple[int, int, int]) -> int:
        """What the network makes of latents of this shape."""
        return (shape[1] // self.patch) * (shape[2] // self.patch)

    def _image_size(self) -> tuple[int, int]:
        side = self.network.config.sample_size
        height, width = (side, side) if isinstance(side, int) else side
        return height * self.factor, width * self.factor

    def _defaults(self) -> Defaults:
        """Few steps for samplers of consistency models, and for those that start where distilled networks do."""
        kind, config = type(self.scheduler).__name__, self.scheduler.config
        distilled = kind.startswith("Euler") and config.get("timestep_spacing") == "trailing"
        few = distilled or kind.startswith("LCM")
        return Defaults(FEW_STEPS if few else self.steps, self.guidance_threshold, guided=not distilled)

    # --- the same for all -------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        result: torch.device = self.pipe._execution_device
        return result

    @property
    def networks(self) -> list[torch.nn.Module]:
        """All of them, in the order the fingerprint is taken in."""
        parts = ["vae", self.network_part, *(part for part in self.parts if part.startswith("text_encoder"))]
        found = [self.vae if part == "vae" else getattr(self.pipe, part, None) for part in parts]
        return [network for network in found if network is not None]

    @property
    def one_at_a_time(self) -> bool:
        """Whether a network is compiled or hooked now, or a layer was when the model was made or placed."""
        return self._bound_layers or any(map(bound, self.networks))

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits told by some 64 values of every weight tensor, rounded to bfloat16.

        So neither the device nor bfloat16 makes it another model; float16, which rounds elsewhere, may.
        """
        with running(alone=self.one_at_a_time):
            return digest(self.networks, str(self.vae.config.get("scaling_factor")))

    def latent_shape(self, image_size: tuple[int, int]) -> tuple[int, int, int]:
        height, width = image_size
        return self.network.config.in_channels, height // self.factor, width // self.factor

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        return self._finite(self._encode, image)

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        return self._finite(self._decode, latent).clamp(-1, 1)

    def _encode(self, vae: Any, image: Tensor) -> Tensor:
        return autoencoder.encode(vae, image.to(self.device))

    def _decode(self, vae: Any, latent: Tensor) -> Tensor:
        return autoencoder.decode(vae, latent.to(self.device))

    def _finite(self, made_by: Callable[[Any, Tensor], Tensor], given: Tensor) -> Tensor:
        """What the autoencoder makes of finite numbers; of those that overflow in float16, its copy in float32."""
        with running(alone=self.one_at_a_time):
            self._send_back()
            made = made_by(self.vae, given)
            if self.vae.dtype == torch.float16 and not made.isfinite().all() and given.isfinite().all():
                made = made_by(self._vae_in_float32(), given)
            self._send_back()
            return made

    def _vae_in_float32(self) -> Any:
        """The autoencoder's copy in float32, made when it is first needed."""
        with running(alone=True):
            if self._wide_vae is None:
                self._wide_vae = autoencoder.in_float32(self.vae, self.device)
            return self._wide_vae

    def _send_back(self, *, but: Any = None) -> None:
        """Return networks that are offloaded whole to main memory, all but one.

        By themselves they return only when the next in the order of drawing from noise is called.
        """
        for hook in getattr(self.pipe, "_all_hooks", ()):
            if hook.model is not but:
                hook.offload()

    @torch.no_grad()
    def preview(self, latent: Tensor) -> Tensor:
        if self.tiny is None:
            return self.decode(latent)
        with running():
            return self._decode(self.tiny, latent).clamp(-1, 1)

    def embed(self, prompts: Sequence[str]) -> Condition:
        return self._embed(prompts, lambda: self.read(list(prompts)))

    def unconditional(self, negative: str | None, count: int) -> Condition:
        one = self._embed([negative or ""], lambda: self.read_negative(negative))
        rows = {name: each.expand(count, *each.shape[1:]) for name, each in one.more.items()}
        return Condition(one.prompts * count, one.tokens.expand(count, -1, -1), rows)

    def _embed(self, prompts: Sequence[str], read: Callable[[], dict[str, Tensor]]) -> Condition:
        with running(alone=self.one_at_a_time), TOKENIZERS:
            for prompt in dict.fromkeys(prompts):
                warn_of_unread(prompt, *self.reader(), self.name, self.words)
            self._send_back(but=self.pipe.text_encoder)  # which reads first
            with torch.no_grad(), quiet():
                given = read()
        told = {name: each.float() if each.is_floating_point() else each for name, each in given.items()}
        return Condition(tuple(prompts), told.pop("tokens"), told)

    def schedule(
        self,
        num_steps: int,
        *,
        generator: torch.Generator | None = None,
        strength: float = 1.0,
        shape: tuple[int, int, int] | None = None,
    ) -> Schedule:
        shape = shape or self.latent_shape(self.image_size)
        with running():
            told, own = self._spacing(num_steps, shape), self._scheduler(num_steps)
            return last(table(own, num_steps, shape=shape, generator=generator, timesteps=told), strength)

    def noise_scale(self, num_steps: int, shape: tuple[int, int, int] | None = None) -> float:
        with running():
            told = self._spacing(num_steps, shape or self.latent_shape(self.image_size))
            return noise_scale(self._scheduler(num_steps), num_steps, timesteps=told)

    def _scheduler(self, num_steps: int) -> Any:
        return self.scheduler

    def _spacing(self, num_steps: int, shape: tuple[int, int, int]) -> dict[str, Any] | None:
        whole = isinstance(num_steps, int) and num_steps > 0
        return self.timesteps(num_steps, shape) if whole and "flow" in self.samplers else None

    def denoiser(self, condition: Condition, guidance: float = 1.0) -> Denoiser:
        alone = self.one_at_a_time
        with running(alone=alone):
            told = self._told(condition, guidance)

        def m(z: Tensor, t: float) -> Tensor:
            with running(alone=alone):
                return self._call(told, z, t)().to(z.dtype, copy=self.replayed)

        return m

    def bare(self, condition: Condition, z: Tensor, t: float) -> Callable[[], Tensor]:
        """One call of the network with everything it reads at hand: what no sampler can be faster than."""
        return self._call(self._told(condition, 1.0), z, t)

    def _told(self, condition: Condition, guidance: float) -> dict[str, Tensor]:
        """What the network reads of its prompts, one row each, where and in the precision it reads it."""
        dtype = self.network.dtype
        told = {
            name: each.to(self.device, dtype if each.is_floating_point() else each.dtype)
            for name, each in {"tokens": condition.tokens, **condition.more}.items()
        }
        if self.guidance == "embedded":
            told["guidance"] = torch.full((1,), guidance, device=self.device)
        return told

    def _call(self, told: Mapping[str, Tensor], z: Tensor, t: float) -> Callable[[], Tensor]:
        prompts = len(told["tokens"])
        if prompts not in (1, len(z)):
            raise RnriError(f"{prompts} prompts do not fit {len(z)} latents", hint="give one, or one for each")
        rows = {name: each.expand(len(z), *each.shape[1:]) if len(each) == 1 else each for name, each in told.items()}
        inputs, times = z.to(self.network.dtype), torch.full((len(z),), t, device=z.device)
        return lambda: self.predict(inputs, times, rows)

    # --- prompts ----------------------------------------------------------------------------------------------------

    def reader(self) -> tuple[Any, int]:
        """The tokenizer that reads most of a prompt, and how many tokens it reads."""
        tokenizer = self.pipe.tokenizer
        return tokenizer, self.max_tokens or tokenizer.model_max_length
