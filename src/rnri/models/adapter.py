"""The base of all model families: a diffusers pipeline as a `Model`, without the pipeline's own sampling loop."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Set
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from rnri_core.errors import RnriError
from rnri_core.registry import Source
from rnri_core.sampling.guidance import combine
from rnri_core.sampling.steps import Denoiser, Schedule
from rnri_core.sampling.strength import last
from rnri_core.threads import TOKENIZERS, running
from torch import Tensor

from rnri.models import acceleration, autoencoder
from rnri.models.base import MAX_SIDE, Condition, Guidance
from rnri.models.components import assemble, load_components, pipeline_class
from rnri.models.defaults import Defaults
from rnri.models.loading import Loading
from rnri.models.lora import add_loras
from rnri.models.networks import bound, bound_layers, digest
from rnri.models.prompts import warn_of_unread
from rnri.models.quiet import quiet
from rnri.models.schedulers import choose, fitting, noise_scale, table

WORDS = "words.json"
"""Beside the tokenizer's files: a sorted JSON list of the words in the model's vocabulary. Most models have none."""

FEW_STEPS = 4
"""Number of steps of checkpoints that are distilled to few."""

NOISE_SAMPLERS = fitting(flow=False)
"""Samplers of networks that predict noise, v or the image."""


class ModelAdapter(ABC):
    """A diffusers pipeline as a :class:`rnri.models.base.Model`; a family of pipelines is a subclass.

    A family declares the components of its pipeline and implements two methods: `read`, prompts to tensors, and
    `predict`, the network output. It overrides others where its pipeline differs from most: `read_negative` for
    negative prompts, `combine` and `guidance_threshold` for guidance, `timesteps` for the scheduler. The page
    docs/adding-a-family.md has one in full.

    Args:
        name: the model's name in messages: an embedded one, a folder, a Hub id.
        pipe: the pipeline, whose weights are shared and which is not changed.
        words: the model's vocabulary; without it prompts are checked for length alone.
        defaults: steps and guidance, where the family's own do not hold.
        preview: a tiny autoencoder for previews.
        scheduler, spacing: see `Loading`.
    """

    title: ClassVar[str]
    source: ClassVar[Source | None] = None
    """The publication to cite; `None` where there is none."""
    examples: ClassVar[tuple[str, ...]]
    """Some checkpoints on the Hub that this family serves."""
    gigabytes: ClassVar[float]
    """Weights of the first example in 16 bits, text encoders included, about."""
    network_component: ClassVar[str] = "transformer"
    """The component that denoises."""
    components: ClassVar[Mapping[str, tuple[str | None, ...]]]
    """Component → the classes it may have; `None` where it may be missing, nothing where any will do."""
    samplers: ClassVar[tuple[str, ...]] = fitting(flow=True)
    """Names of the samplers that fit the network's prediction, the checkpoints' own first."""
    steps: ClassVar[int] = 30
    """Number of steps of checkpoints that are not distilled."""
    recommended: ClassVar[str]
    """Guidance scale of edits, as a text."""
    patch: ClassVar[int] = 2
    """Latent elements along one side of one token of the network."""
    max_tokens: ClassVar[int | None] = None
    """Of a prompt, special tokens included; `None` for the tokenizer's own number."""
    guidance_threshold: float = 1.0
    """Guidance is active above this scale: see `combine`."""
    replayed = False

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
        self.name, self.pipe = name, pipe
        self.words: Set[str] = frozenset(words)
        self.scheduler = choose(pipe.scheduler, scheduler, spacing)
        self.vae = autoencoder.upcast_if_needed(pipe.vae, where=pipe._execution_device)
        self._wide_vae: Any = None
        self.tiny = preview
        self.factor = self.latent_factor()
        self.multiple: int = self.factor * self.patch
        self.max_side = min(MAX_SIDE, self.positions() * self.multiple)
        self.image_size = self.native_size()
        self.defaults = defaults or self.own_defaults()
        self._bound_layers = bound_layers(self.networks)

    @classmethod
    def from_folder(
        cls, name: str, folder: Path, *, device: torch.device, dtype: torch.dtype, loading: Loading
    ) -> ModelAdapter:
        """The model in a folder in the layout of diffusers; see :func:`rnri.models.load`."""
        acceleration.check_place(device, loading)
        loaded = load_components(name, folder, {**cls.components, "scheduler": ()}, dtype, loading)
        loaded["scheduler"] = choose(loaded["scheduler"], loading.scheduler, loading.spacing)
        pipe = assemble(pipeline_class(name, folder), loaded)
        pipe.register_modules(vae=autoencoder.upcast_if_needed(pipe.vae, where=torch.device("cpu")))
        add_loras(name, pipe, loading)
        words, preview = folder / "tokenizer" / WORDS, loading.preview
        model = cls(
            name,
            pipe,
            words=json.loads(words.read_text()) if words.exists() else (),
            defaults=Defaults.read(folder),
            preview=autoencoder.load_preview(preview, pipe.vae, device, dtype, loading) if preview else None,
        )
        _ = model.fingerprint  # while all weights are in one place
        model.place(device, loading)
        return model

    @classmethod
    def from_pipe(cls, pipe: Any, *, scheduler: str | None = None, spacing: str | None = None) -> ModelAdapter:
        """The model in a diffusers pipeline; shares its weights."""
        origin = pipe.config.get("_name_or_path") or ""
        defaults = Defaults.read(Path(origin)) if origin else None
        return cls(origin or type(pipe).__name__, pipe, defaults=defaults, scheduler=scheduler, spacing=spacing)

    def place(self, device: torch.device, loading: Loading) -> None:
        """Move the networks to the device, or offload them, and set up tiling and acceleration."""
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

    # --- what a family defines --------------------------------------------------------------------------------------

    @abstractmethod
    def read(self, prompts: list[str]) -> dict[str, Tensor]:
        """Embed prompts: `tokens` (P, length, width) and whatever else the network reads, one row per prompt."""

    def read_negative(self, negative: str | None) -> dict[str, Tensor]:
        """Embed a negative prompt as `read` does, one row; `None` for none."""
        return self.read([negative or ""])

    def read_masked(self, prompts: list[str]) -> dict[str, Tensor]:
        """`read` for pipelines whose `encode_prompt` gives `tokens` and the `mask` of those that count."""
        tokens, mask, *_ = self.pipe.encode_prompt(
            prompts, do_classifier_free_guidance=False, device=self.device, max_sequence_length=self.reader()[1]
        )
        return {"tokens": tokens, "mask": mask}

    @abstractmethod
    def predict(self, z: Tensor, t: Tensor, read: Mapping[str, Tensor]) -> Tensor:
        """The network output for latents.

        Args:
            z: latents (B, C, h, w) in the network's precision, scaled as its sampler scales them.
            t: timesteps (B,), of 1000 at the noisy end mostly.
            read: what :meth:`read` gave, one row for each latent, and `guidance` (B,) for networks that read it.

        Returns:
            What the sampler takes: noise, v, the image, or the velocity of a flow from image to noise, (B, C, h, w).
        """

    def combine(self, conditional: Tensor, base: Tensor, guidance: float) -> Tensor:
        return combine(conditional, base, guidance)

    def timesteps(self, num_steps: int, shape: tuple[int, int, int]) -> dict[str, Any]:
        """Arguments of the scheduler's `set_timesteps` besides the number of steps, for latents of this shape."""
        return {}

    def reader(self) -> tuple[Any, int]:
        """The tokenizer of most of a prompt, and the number of tokens that are read."""
        tokenizer = self.pipe.tokenizer
        return tokenizer, self.max_tokens or tokenizer.model_max_length

    @property
    def guidance(self) -> Guidance:
        return "classifier-free"

    @property
    def network(self) -> Any:
        """The network that denoises."""
        return getattr(self.pipe, self.network_component)

    @property
    def unet(self) -> Any:
        return None

    @property
    def tokenizer(self) -> Any:
        return None

    def latent_factor(self) -> int:
        """Pixels in a latent element, along one side."""
        return autoencoder.factor(self.vae)

    def positions(self) -> int:
        """Positions along one side in the network's table of them."""
        return MAX_SIDE

    def tokens(self, shape: tuple[int, int, int]) -> int:
        """The number of the network's tokens for latents of this shape."""
        return (shape[1] // self.patch) * (shape[2] // self.patch)

    def native_size(self) -> tuple[int, int]:
        """Height and width, in pixels, of the images that the network was trained on."""
        side = self.network.config.get("sample_size") or self.pipe.default_sample_size
        height, width = (side, side) if isinstance(side, int) else side
        return height * self.factor, width * self.factor

    def own_defaults(self) -> Defaults:
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
        """Autoencoder, denoiser and text encoders, in the order of the fingerprint."""
        names = [self.network_component, *(name for name in self.components if name.startswith("text_encoder"))]
        networks = [self.vae, *(getattr(self.pipe, name, None) for name in names)]
        return [network for network in networks if network is not None]

    @property
    def one_at_a_time(self) -> bool:
        """Whether a network is compiled or hooked now, or a layer was when the model was made or placed."""
        return self._bound_layers or any(map(bound, self.networks))

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the weights in bfloat16, which neither device nor bfloat16 changes; float16 may."""
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

    def _finite(self, code: Callable[[Any, Tensor], Tensor], x: Tensor) -> Tensor:
        """Images or latents through the autoencoder; where it overflows in float16, through its copy in float32."""
        with running(alone=self.one_at_a_time):
            self._send_back()
            output = code(self.vae, x)
            if self.vae.dtype == torch.float16 and not output.isfinite().all() and x.isfinite().all():
                output = code(self._vae_in_float32(), x)
            self._send_back()
            return output

    def _vae_in_float32(self) -> Any:
        """The autoencoder's copy in float32, made when it is first needed."""
        with running(alone=True):
            if self._wide_vae is None:
                self._wide_vae = autoencoder.in_float32(self.vae, self.device)
            return self._wide_vae

    def _send_back(self, *, but: Any = None) -> None:
        """Return offloaded networks to main memory, all but one; by themselves they return in the pipeline's order."""
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
                rows = read()
        more = {name: each.float() if each.is_floating_point() else each for name, each in rows.items()}
        return Condition(tuple(prompts), more.pop("tokens"), more)

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
            timesteps, scheduler = self._spacing(num_steps, shape), self.scheduler_for(num_steps)
            return last(table(scheduler, num_steps, shape=shape, generator=generator, timesteps=timesteps), strength)

    def noise_scale(self, num_steps: int, shape: tuple[int, int, int] | None = None) -> float:
        with running():
            timesteps = self._spacing(num_steps, shape or self.latent_shape(self.image_size))
            return noise_scale(self.scheduler_for(num_steps), num_steps, timesteps=timesteps)

    def scheduler_for(self, num_steps: int) -> Any:
        """The scheduler of schedules of so many steps."""
        return self.scheduler

    def _spacing(self, num_steps: int, shape: tuple[int, int, int]) -> dict[str, Any] | None:
        whole = isinstance(num_steps, int) and num_steps > 0
        return self.timesteps(num_steps, shape) if whole and "flow" in self.samplers else None

    def denoiser(self, condition: Condition, guidance: float = 1.0) -> Denoiser:
        alone = self.one_at_a_time
        with running(alone=alone):
            read = self._inputs(condition, guidance)

        def m(z: Tensor, t: float) -> Tensor:
            with running(alone=alone):
                return self._call(read, z, t)().to(z.dtype, copy=self.replayed)

        return m

    def bare(self, condition: Condition, z: Tensor, t: float) -> Callable[[], Tensor]:
        """One call of the network with all its inputs prepared: a lower bound of the time of any sampler."""
        return self._call(self._inputs(condition, 1.0), z, t)

    def _inputs(self, condition: Condition, guidance: float) -> dict[str, Tensor]:
        """Embedded prompts, one row each, on the network's device and in its precision."""
        dtype = self.network.dtype
        read = {
            name: each.to(self.device, dtype if each.is_floating_point() else each.dtype)
            for name, each in {"tokens": condition.tokens, **condition.more}.items()
        }
        if self.guidance == "embedded":
            read["guidance"] = torch.full((1,), guidance, device=self.device)
        return read

    def _call(self, read: Mapping[str, Tensor], z: Tensor, t: float) -> Callable[[], Tensor]:
        prompts = len(read["tokens"])
        if prompts not in (1, len(z)):
            raise RnriError(f"{prompts} prompts do not fit {len(z)} latents", hint="give one, or one for each")
        rows = {name: each.expand(len(z), *each.shape[1:]) if len(each) == 1 else each for name, each in read.items()}
        inputs, times = z.to(self.network.dtype), torch.full((len(z),), t, device=z.device)
        return lambda: self.predict(inputs, times, rows)
