"""The editor: from an image to its inversion, and from the inversion to edited images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from rnri_core.controls.masks import composite
from rnri_core.controls.sampling import Sampled, default_controls
from rnri_core.errors import RnriError
from rnri_core.inversion.config import InversionConfig, check_guidance
from rnri_core.inversion.inversion import Inversion, sample
from rnri_core.inversion.presets import spec
from rnri_core.sampling.steps import Denoiser, Schedule
from rnri_core.threads import runs
from torch import Tensor

from rnri import images, models
from rnri.editing.config import EditConfig
from rnri.editing.edit import as_inversion, bound, other_steps, resample, sample_noise
from rnri.editing.encoded import Encoded
from rnri.editing.limits import check_resolution, check_size, generator, listed
from rnri.editing.renamed import configured
from rnri.editing.result import EditResult
from rnri.editing.timings import Timings
from rnri.images import ImageLike, Picture
from rnri.models.base import Model
from rnri.models.loading import Loading

__all__ = ["Editor", "Encoded", "Timings"]


@dataclass(frozen=True)
class Editor:
    """Edits images by text with one model: invert an image once, then edit the inversion any number of times.

    It has no state, and any number of threads may call it, each with the bits it would have alone. Networks run
    concurrently unless they are compiled or offloaded. Sizes are (width, height) in pixels, as in PIL. ``timings``
    gets the seconds of each stage of a call added, one object for each thread. Steps and guidance that are not given
    are those of ``model.defaults``; inversions have no guidance unless it is given.

    >>> from rnri.examples import EDITS
    >>> editor, edit = Editor.from_pretrained("scenes-turbo"), EDITS["colour"]
    >>> inversion = editor.invert(edit.images().source, edit.source_prompt)
    >>> editor.edit(inversion, edit.target_prompt).picture.size
    (128, 128)
    """

    model: Model

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] = "scenes-turbo",
        *,
        device: str | torch.device = "auto",
        dtype: torch.dtype = torch.float32,
        loading: Loading | None = None,
    ) -> Editor:
        """An editor with an embedded model, a folder or a Hub id; arguments are those of :func:`rnri.models.load`."""
        return cls(models.load(os.fspath(name), device=device, dtype=dtype, loading=loading))

    @classmethod
    def from_pipe(cls, pipe: Any, *, scheduler: str | None = None, spacing: str | None = None) -> Editor:
        """An editor on a diffusers pipeline, whose weights it shares and which it does not change.

        ``scheduler`` replaces one that cannot be inverted, such as PNDM; see :func:`rnri.models.from_pipe`.
        """
        return cls(models.from_pipe(pipe, scheduler=scheduler, spacing=spacing))

    @runs
    def invert(
        self,
        image: ImageLike | Encoded,
        prompt: str,
        config: InversionConfig | None = None,
        *,
        timings: Timings | None = None,
        **options: Any,
    ) -> Inversion:
        """Invert one image: find the noise from which the model samples it with the source prompt.

        Args:
            image: one image in any form that :meth:`encode` takes, or its result.
            prompt: the source prompt.
            config: settings; fields of :class:`InversionConfig` may be given by name as ``options`` as well, and win.
            timings: gets the seconds of each stage added.

        Returns:
            The inversion; whether its equations were solved is the :class:`Status` of its solutions, no exception.

        Raises:
            RnriError: for a value out of range, or one that this model cannot serve.
        """
        config, prompts = configured(config or InversionConfig(), options), listed(prompt)
        if config.tol is not None and self.model.replayed:
            raise RnriError(
                f"tol={config.tol:g} and CUDA graphs exclude each other", hint="give iterations alone", field="tol"
            )
        timings = timings or Timings()
        latents, size = self.encode(image, resolution=config.resolution, timings=timings)
        with timings.measure("invert", self.model.device):
            inversion = self.invert_latents(latents, prompts, config)
        return inversion.described(prompt=prompt, size=size)

    @runs
    def invert_latents(self, latents: Tensor, prompts: list[str], config: InversionConfig) -> Inversion:
        """Invert latents (B, C, h, w) with a prompt for each, all in one batch; sizes and prompts are not recorded."""
        latents = latents.to(self.model.device)
        guidance = self.model.guidance_threshold if config.guidance is None else config.guidance
        schedule = self.schedule(latents, steps=config.steps, strength=config.strength, seed=config.seed)
        inverter = config.inverter_for(schedule)
        inversion = inverter.invert(self.denoiser(prompts, guidance), schedule, latents, seed=config.seed)
        if not isinstance(inversion, Inversion):
            raise RnriError(
                f"{config.inverter!r} gives a pair of latents, which controls cannot edit",
                hint="use its baseline: rnri methods",
                field="inverter",
            )
        return inversion.described(
            model=self.model.fingerprint, guidance=guidance, inverter=spec(inverter), device=str(self.model.device)
        )

    @runs
    def encode(
        self, image: ImageLike | Encoded, *, resolution: tuple[int, int] | None = None, timings: Timings | None = None
    ) -> Encoded:
        """The latents of an image, and its size; an encoded image is returned as it is.

        The image is scaled to ``resolution``, (width, height), or else by the rule of :func:`rnri.images.fit`.

        Raises:
            RnriError: for a resolution whose sides are no multiples of what the model takes, and for a batch.
        """
        if resolution is not None:
            check_resolution(resolution, self.model.multiple, self.model.max_side)
        if isinstance(image, Encoded):
            if resolution is not None:
                raise RnriError(
                    f"resolution={resolution} has no effect on an encoded image",
                    hint="encode the image at it",
                    field="resolution",
                )
            return image
        with (timings or Timings()).measure("encode", self.model.device):
            pixels = images.read(image)
            if len(pixels) != 1:
                raise RnriError(
                    f"cannot invert a batch of {len(pixels)} images into one",
                    hint="give rnri.editing.batch.invert_all them",
                )
            height, width = pixels.shape[-2:]
            size = self._fitting((height, width)) if resolution is None else resolution[::-1]
            return Encoded(self.model.encode(images.resize(pixels, size)), (width, height))

    @runs
    def decode(
        self, latents: Tensor, *, size: tuple[int, int] | None = None, timings: Timings | None = None
    ) -> list[Picture]:
        """Latents (B, C, h, w) decoded to B pictures, scaled to ``size`` if it is given."""
        check_size(size)
        with (timings or Timings()).measure("decode", self.model.device):
            return images.to_pil(self._pixels(latents, *(size or (None, None))))

    @runs
    def schedule(self, latents: Tensor, *, steps: int | None = None, strength: float = 1.0, seed: int = 0) -> Schedule:
        """The sampling steps for latents (B, C, h, w); the noise of a stochastic sampler is that of ``seed``."""
        steps = self.model.defaults.steps if steps is None else steps
        shape = (latents.shape[1], latents.shape[2], latents.shape[3])
        return self.model.schedule(steps, strength=strength, generator=generator(seed), shape=shape)

    @runs
    def denoiser(self, prompts: list[str], guidance: float | None = None, negative: str | None = None) -> Denoiser:
        """The network bound to prompts and guidance; see :func:`rnri.editing.edit.bound`."""
        return bound(self.model, prompts, guidance, negative)

    @runs
    def edit(
        self,
        source: Inversion,
        prompt: str | list[str],
        config: EditConfig | None = None,
        *,
        paste: ImageLike | None = None,
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
        **options: Any,
    ) -> EditResult:
        """Edit an inverted image: sample its noise again with another prompt.

        Args:
            source: the inversion, of this model.
            prompt: the target prompt, or several, which are sampled in one batch.
            config: settings; fields of :class:`EditConfig` may be given by name as ``options`` as well, and win.
            paste: the image itself, whose pixels the result has outside the masks instead of the autoencoder's.
            size: (width, height) of the result in pixels; that of the image that was inverted.
            timings: gets the seconds of each stage added.

        Raises:
            RnriError: for an inversion of another model, and for a value out of range.
        """
        config, prompts, timings = configured(config or EditConfig(), options), listed(prompt), timings or Timings()
        check_size(size)
        sampled = self.sample(source, prompts, config, timings=timings)
        pictures = self.render(source, sampled, paste=paste, size=size, timings=timings)
        return EditResult(source, tuple(prompts), tuple(pictures), sampled)

    @runs
    def edited(
        self,
        source: Inversion,
        prompt: str,
        config: EditConfig | None = None,
        *,
        timings: Timings | None = None,
        **options: Any,
    ) -> Inversion:
        """Edit an inversion and return the inversion of the edit, to be edited again; no image is decoded for it.

        Its latents are those of the edit, with noise maps, so that :meth:`reconstruct` gives the edit; its source
        prompt is ``prompt``. Arguments are those of :meth:`edit`.
        """
        config, (text,) = configured(config or EditConfig(), options), listed([prompt])
        guidance = self._guidance(config)
        timings = timings or Timings()
        sampled = self.sample(source, [text], config, timings=timings)
        with timings.measure("edit", self.model.device):
            return as_inversion(self.denoiser([text], guidance), source, sampled, prompt=text, guidance=guidance)

    @runs
    def sample(
        self,
        source: Inversion,
        prompts: Sequence[str],
        config: EditConfig | None = None,
        *,
        timings: Timings | None = None,
        **options: Any,
    ) -> Sampled:
        """The latents of :meth:`edit`, with its arguments, not decoded; :meth:`render` decodes them."""
        config = configured(config or EditConfig(), options)
        self._check_model(source)
        guidance = self._guidance(config)
        controls = default_controls(source) if config.chosen == "auto" else config.chosen
        with (timings or Timings()).measure("edit", self.model.device):
            if config.steps is not None:
                whole = self.schedule(source.noise, steps=config.steps, seed=source.seed)
                steps = other_steps(source, whole)
                if len(steps) != len(source.schedule):
                    return sample_noise(self.model, steps, source.noise, prompts, guidance, config.negative)
            return resample(
                self.model,
                source,
                prompts,
                guidance=guidance,
                negative=config.negative,
                controls=controls,
            )

    @runs
    def from_noise(
        self,
        schedule: Schedule,
        noise: Tensor,
        prompt: str,
        config: EditConfig | None = None,
        *,
        size: tuple[int, int] | None = None,
    ) -> Picture:
        """The picture sampled from noise (1, C, h, w) on a schedule, with the config's guidance and negative prompt."""
        config = config or EditConfig()
        guidance = self._guidance(config)
        sampled = sample_noise(self.model, schedule, noise, listed([prompt]), guidance, config.negative)
        return self.decode(sampled.latents, size=size)[0]

    @runs
    def render(
        self,
        source: Inversion,
        sampled: Sampled,
        *,
        paste: ImageLike | None = None,
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
    ) -> list[Picture]:
        """Sampled latents decoded to pictures; outside the masks of controls, they have the source's pixels."""
        timings = timings or Timings()
        wide, high = size or source.size or (None, None)
        with timings.measure("decode", self.model.device):
            pixels = self._pixels(sampled.latents, wide, high)
            if paste is not None and not sampled.masks:
                raise RnriError(
                    "there is nothing to paste", hint="add a control with a mask, such as mask or diffedit-mask"
                )
            if sampled.masks:
                kept = self._pixels(source.clean, wide, high) if paste is None else images.read(paste).to(pixels)
                kept = images.resize(kept, (pixels.shape[-2], pixels.shape[-1]))
                pixels = composite(pixels, kept, sampled.masks)
            return images.to_pil(pixels)

    @runs
    def reconstruct(
        self, source: Inversion, *, size: tuple[int, int] | None = None, timings: Timings | None = None
    ) -> Picture:
        """The inverted image sampled again with its own prompt and guidance, which shows how good the inversion is."""
        timings = timings or Timings()
        check_size(size)
        config = EditConfig(guidance=source.guidance, controls=())
        sampled = self.sample(source, [source.prompt], config, timings=timings)
        return self.render(source, sampled, size=size, timings=timings)[0]

    @runs
    def autoencoded(
        self, source: Inversion, *, size: tuple[int, int] | None = None, timings: Timings | None = None
    ) -> Picture:
        """The inverted image encoded and decoded alone, the upper bound of reconstructions."""
        self._check_model(source)
        return self.decode(source.clean, size=size or source.size, timings=timings)[0]

    @overload
    def generate(
        self,
        prompt: str,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        negative: str | None = None,
        seed: int = 0,
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
    ) -> Picture: ...

    @overload
    def generate(
        self,
        prompt: list[str],
        *,
        steps: int | None = None,
        guidance: float | None = None,
        negative: str | None = None,
        seed: int = 0,
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
    ) -> list[Picture]: ...

    @runs
    def generate(
        self,
        prompt: str | list[str],
        *,
        steps: int | None = None,
        guidance: float | None = None,
        negative: str | None = None,
        seed: int = 0,
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
    ) -> Picture | list[Picture]:
        """Generate an image from a prompt, or a list of images from a list; the n-th has noise of ``seed`` + n.

        Images have the aspect ratio of ``size``, are sampled at about the size the model was trained for, and scaled.
        """
        prompts = listed(prompt)
        guidance = self.model.defaults.guidance if guidance is None else guidance
        check_guidance(guidance)
        check_size(size)
        timings = timings or Timings()
        fitted = self._fitting((size[1], size[0])) if size else None
        device, shape = self.model.device, self.model.latent_shape(fitted or self.model.image_size)
        with timings.measure("edit", device):
            draws = torch.cat([torch.randn(1, *shape, generator=generator(seed + n)) for n in range(len(prompts))])
            steps = self.model.defaults.steps if steps is None else steps
            schedule = self.schedule(draws, steps=steps, seed=seed)
            noise = draws.to(device) * self.model.noise_scale(steps, shape)
            latents = sample(self.denoiser(prompts, guidance, negative), schedule, noise)
        pictures = self.decode(latents, size=size, timings=timings)
        return pictures[0] if isinstance(prompt, str) else pictures

    def _guidance(self, config: EditConfig) -> float:
        """The guidance scale of an edit: the config's, or the model's own for edits."""
        return self.model.defaults.edit_guidance if config.guidance is None else config.guidance

    def _fitting(self, size: tuple[int, int]) -> tuple[int, int]:
        return images.fit(size, self.model.image_size, self.model.multiple, self.model.max_side)

    def _pixels(self, latents: Tensor, width: int | None, height: int | None) -> Tensor:
        pixels = self.model.decode(latents)
        return images.resize(pixels, (height, width)) if height and width else pixels

    def _check_model(self, source: Inversion) -> None:
        if source.model != self.model.fingerprint:
            raise RnriError(
                f"the inversion is of model {source.model or 'unknown'}, "
                f"and {self.model.name} is {self.model.fingerprint}",
                hint="load the model it was made with, or invert the image again",
            )
