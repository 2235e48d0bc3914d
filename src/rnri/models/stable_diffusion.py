"""Stable Diffusion 1.x and 2.x and their relatives: an autoencoder, a UNet on its latents, one CLIP text encoder."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    UNet2DConditionModel,
)
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from rnri.models.base import Condition, Defaults, PromptWarning
from rnri.models.samplers import last, table
from rnri.schedule import Denoiser, Schedule

COMPONENTS: dict[str, tuple[type[Any], ...]] = {
    "vae": (AutoencoderKL, AutoencoderTiny),
    "unet": (UNet2DConditionModel,),
    "text_encoder": (CLIPTextModel,),
    "tokenizer": (CLIPTokenizer,),
    "scheduler": (DDIMScheduler, EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, LCMScheduler),
}
"""What the family is made of: folder in the standard layout, classes that may lie in it."""

FEW_STEPS = 4
"""What an LCM checkpoint is sampled in."""

WORDS = "words.json"
"""Beside the tokenizer's files: a sorted JSON list of all words the model was taught. Most models have none."""


class StableDiffusion:
    """The Stable Diffusion family, as a `rnri.models.base.Model`.

    It shares the components it is given and changes none. `words` are those the model knows; without them prompts
    are not checked. Without `defaults` the scheduler tells: few steps for LCM's, many for any other.
    """

    def __init__(
        self,
        name: str,
        *,
        vae: AutoencoderKL | AutoencoderTiny,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        scheduler: Any,
        words: Sequence[str] = (),
        defaults: Defaults | None = None,
    ) -> None:
        if unet.config.time_cond_proj_dim is not None:
            raise ValueError(f"{name}: UNets that take the guidance scale as an input (LCM) are not served")
        self.name = name
        self.vae, self.unet, self.text_encoder = vae, unet, text_encoder
        self.tokenizer, self.scheduler, self.words = tokenizer, scheduler, frozenset(words)
        few = isinstance(scheduler, LCMScheduler)
        self.defaults = defaults or (Defaults(steps=FEW_STEPS) if few else Defaults())
        self.multiple: int = 2 ** (len(vae.config.block_out_channels) - 1)
        side = unet.config.sample_size
        height, width = (side, side) if isinstance(side, int) else side
        self.image_size = (height * self.multiple, width * self.multiple)

    @classmethod
    def from_folder(cls, name: str, folder: Path, *, device: torch.device, dtype: torch.dtype) -> StableDiffusion:
        """The model in a folder of the standard diffusers layout; safetensors only.

        Raises ValueError naming the part that is missing, incomplete or of another family.
        """
        index = json.loads((folder / "model_index.json").read_text())
        parts = {}
        for part, classes in COMPONENTS.items():
            wanted = (index.get(part) or (None, None))[1]
            known = {kind.__name__: kind for kind in classes}
            if wanted not in known:
                raise ValueError(f"{name}: its {part} is {wanted}, not {' or '.join(known)}: use another model")
            parts[part] = _load(name, folder / part, known[wanted], dtype)
        for part in ("vae", "unet", "text_encoder"):
            parts[part].to(device).requires_grad_(False).eval()
        words = folder / "tokenizer" / WORDS
        known_words = json.loads(words.read_text()) if words.exists() else ()
        return cls(name, **parts, words=known_words, defaults=Defaults.read(folder))

    @classmethod
    def from_pipe(cls, pipe: Any) -> StableDiffusion:
        """The model in a diffusers pipeline; shares its weights."""
        origin = pipe.config.get("_name_or_path") or ""
        return cls(
            origin or type(pipe).__name__,
            **{part: getattr(pipe, part) for part in COMPONENTS},
            defaults=Defaults.read(Path(origin)) if origin else None,
        )

    @property
    def device(self) -> torch.device:
        return self.unet.device

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits told by some 64 values of every weight tensor, rounded to bfloat16.

        So neither the device nor the precision the model is loaded in makes it another model.
        """
        digest = hashlib.sha256(str(self.vae.config.scaling_factor).encode())
        for network in (self.vae, self.unet, self.text_encoder):
            weights = [weight.detach().flatten() for weight in network.parameters()]
            digest.update(repr([len(weight) for weight in weights]).encode())
            samples = torch.cat([weight[:: max(1, len(weight) // 64)].bfloat16() for weight in weights])
            digest.update(samples.view(torch.int16).cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def latent_shape(self, image_size: tuple[int, int]) -> tuple[int, int, int]:
        height, width = image_size
        return self.unet.config.in_channels, height // self.multiple, width // self.multiple

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        encoded = self.vae.encode(image.to(self.device, self.vae.dtype))
        latent = encoded.latents if isinstance(self.vae, AutoencoderTiny) else encoded.latent_dist.mode()
        return latent.float() * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        latent = latent.to(self.device) / self.vae.config.scaling_factor
        return self.vae.decode(latent.to(self.vae.dtype)).sample.float().clamp(-1, 1)

    def embed(self, prompts: Sequence[str]) -> Condition:
        length = min(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings)
        for prompt in dict.fromkeys(prompts):
            self._warn_of_what_is_not_read(prompt, length)
        ids = self.tokenizer(
            list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        with torch.no_grad():
            tokens = self.text_encoder(ids.to(self.device)).last_hidden_state
        return Condition(tuple(prompts), tokens.float())

    def schedule(
        self,
        num_steps: int,
        *,
        generator: torch.Generator | None = None,
        strength: float = 1.0,
        shape: tuple[int, int, int] | None = None,
    ) -> Schedule:
        shape = shape or self.latent_shape(self.image_size)
        return last(table(self.scheduler, num_steps, shape=shape, generator=generator), strength)

    def denoiser(self, condition: Condition) -> Denoiser:
        dtype = self.unet.dtype
        tokens = condition.tokens.to(self.device, dtype)

        def m(z: Tensor, t: float) -> Tensor:
            if len(tokens) not in (1, len(z)):
                raise ValueError(f"{len(tokens)} prompts do not fit {len(z)} latents: give one, or one for each")
            read = tokens.expand(len(z), -1, -1)
            return self.unet(z.to(dtype), t, encoder_hidden_states=read, return_dict=False)[0].to(z.dtype)

        return m

    def _warn_of_what_is_not_read(self, prompt: str, length: int) -> None:
        ids = self.tokenizer(prompt, verbose=False).input_ids
        if len(ids) > length:
            cut = self.tokenizer.decode(ids[length - 1 : -1])
            _warn(f"the prompt is longer than the {length - 2} tokens {self.name} reads; this was cut: {cut!r}")
        unknown = [word for word in dict.fromkeys(_WORD.findall(prompt.lower())) if word not in self.words]
        if self.words and unknown:
            _warn(f"{self.name} does not know {', '.join(unknown)}; it knows {', '.join(sorted(self.words))}")


_WORD = re.compile(r"[^\W\d_]+")


def _warn(message: str) -> None:
    warnings.warn(message, PromptWarning, stacklevel=4)


def _load(name: str, folder: Path, kind: type[Any], dtype: torch.dtype) -> Any:
    """One component; ValueError in one line if a file is missing, damaged or does not fill it."""
    part, options = folder.name, {"use_safetensors": True, "output_loading_info": True, "low_cpu_mem_usage": False}
    try:
        if part in ("tokenizer", "scheduler"):
            return kind.from_pretrained(folder, local_files_only=True)
        with torch.random.fork_rng(devices=[]), _quiet():  # weights start random before they are filled
            component, report = kind.from_pretrained(folder, local_files_only=True, torch_dtype=dtype, **options)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"{name}: its {part} cannot be loaded ({str(error).splitlines()[0]})") from error
    if missing := report["missing_keys"]:
        raise ValueError(f"{name}: its {part} lacks {len(missing)} weight tensors: get a whole copy")
    return component


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar for a local file, and no remarks on configurations."""
    shown, level = transformers_logging.is_progress_bar_enabled(), diffusers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    diffusers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(level)
        if shown:
            transformers_logging.enable_progress_bar()
