"""Image in, Inversion, edited image out: the whole way, and no state kept on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, overload

import torch
from rnri_core.errors import RnriError
from rnri_core.inversion.inversion import Inversion, sample
from rnri_core.inversion.presets import plan
from rnri_core.sampling.steps import Denoiser, Schedule
from rnri_core.solvers.solve import Solver
from torch import Tensor

from rnri import images, models
from rnri.controls import Control
from rnri.controls import control as find_control
from rnri.editing.edit import Drawn, bound, draw, resampled, retraced, usual
from rnri.editing.timings import Timings
from rnri.images import ImageLike, Picture
from rnri.limits import check_guidance, check_resolution, check_size, generator, listed
from rnri.models.base import Model
from rnri.models.load_options import Loading
from rnri.threads import runs

__all__ = ["Editor", "Encoded", "Timings"]


class Encoded(NamedTuple):
    """A picture as a model has it: latents (1, C, h, w) at a size the model takes, and its own size (width, height).

    All that is needed to invert it, again too, and much smaller than pixels or inversion.
    """

    latents: Tensor
    size: tuple[int, int]


@dataclass(frozen=True)
class Editor:
    """Edits images by text with one model: invert once, then edit as often as wanted.

    It keeps nothing between calls, and any number of threads may call it: each gets, to the bit, what it would get
    alone. Networks run beside each other unless they are compiled or offloaded. Sizes are (width, height), as in PIL.
    Every call takes `timings`, a `Timings` that it adds to, one for each thread. Steps and guidance not given are the
    model's `defaults`; inverting, there is no guidance unless given.
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
        """An editor with an embedded model, a folder or a Hub id; see `rnri.models.load`."""
        return cls(models.load(os.fspath(name), device=device, dtype=dtype, loading=loading))

    @classmethod
    def from_pipe(cls, pipe: Any, *, scheduler: str | None = None, spacing: str | None = None) -> Editor:
        """An editor on a diffusers pipeline, whose weights it shares and which it does not change.

        `scheduler` is used instead of one that cannot be inverted, such as PNDM; see `rnri.models.from_pipe`.
        """
        return cls(models.from_pipe(pipe, scheduler=scheduler, spacing=spacing))

    @runs
    def invert(
        self,
        image: ImageLike | Encoded,
        prompt: str,
        *,
        resolution: tuple[int, int] | None = None,
        solver: str | Solver = "auto",
        steps: int | None = None,
        strength: float = 1.0,
        guidance: float | None = None,
        budget: int | Sequence[int] | None = None,
        tol: float | None = None,
        start: Literal["clean", "noised"] | None = None,
        predictor: bool | None = None,
        correct: bool | None = None,
        seed: int = 0,
        timings: Timings | None = None,
    ) -> Inversion:
        """The noise from which the model draws this image when told `prompt`, and the whole way there.

        `image` is one picture in any form that `encode` takes, or what `encode` made of it; the network works at about
        the size it was made for, or at `resolution`, (width, height) in its `multiple`. A `strength` below 1
        inverts only the last part of the steps: the edit then changes less. `seed` draws the noise of samplers that
        add some. `solver` is a solver, its spec, or a preset (`rnri.PRESETS`), which also says what `budget`, `start`,
        `predictor` and `correct` are where they are not given; for what they mean, and `tol`, see
        `rnri_core.inversion.inversion.invert`.

        Numerical trouble is no error but a `Status` in the solutions. Raises ValueError for what is out of range.
        """
        prompts = listed(prompt)
        guidance = self.model.guidance_threshold if guidance is None else guidance
        check_guidance(guidance)
        if tol is not None and getattr(self.model, "replayed", False):
            raise RnriError(f"tol={tol:g} and CUDA graphs exclude each other", hint="give a budget alone", field="tol")
        timings = timings or Timings()
        latents, size = self.encode(image, resolution=resolution, timings=timings)
        latents = latents.to(self.model.device)
        with timings.measure("invert", self.model.device):
            schedule = self.schedule(latents, steps=steps, strength=strength, seed=seed)
            chosen = plan(solver, schedule, budget=budget, tol=tol, start=start, predictor=predictor, correct=correct)
            denoiser = self.denoiser(prompts, guidance)
            found = chosen.invert(denoiser, schedule, latents, tol=tol, seed=seed)
        return replace(found, prompt=prompt, model=self.model.fingerprint, size=size, guidance=guidance)

    @runs
    def encode(
        self, image: ImageLike | Encoded, *, resolution: tuple[int, int] | None = None, timings: Timings | None = None
    ) -> Encoded:
        """A picture's latents (1, C, h, w), and its own size; what is encoded stays as it is.

        It is scaled to `resolution`, (width, height), or without one as `rnri.images.fit` says. Raises ValueError for
        sides that are no multiples of what the model takes.
        """
        if resolution is not None:
            check_resolution(resolution, self.model.multiple, self.model.max_side)
        if isinstance(image, Encoded):
            if resolution is not None:
                raise RnriError(
                    f"resolution={resolution} has no effect on what is encoded",
                    hint="encode the picture at it",
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
        """Latents (B, C, h, w) as pictures, scaled to a size if one is given."""
        check_size(size)
        with (timings or Timings()).measure("decode", self.model.device):
            return images.to_pil(self._pixels(latents, *(size or (None, None))))

    @runs
    def schedule(self, latents: Tensor, *, steps: int | None = None, strength: float = 1.0, seed: int = 0) -> Schedule:
        """The model's sampler for latents (B, C, h, w) as a table of steps, whose noise, if any, ``seed`` draws."""
        steps = self.model.defaults.steps if steps is None else steps
        shape = (latents.shape[1], latents.shape[2], latents.shape[3])
        return self.model.schedule(steps, strength=strength, generator=generator(seed), shape=shape)

    @runs
    def denoiser(self, prompts: list[str], guidance: float | None = None, negative: str | None = None) -> Denoiser:
        """The network bound to the prompts, guided away from `negative`; see `rnri.editing.edit.bound`."""
        return bound(self.model, prompts, guidance, negative)

    @overload
    def edit(
        self,
        source: Inversion,
        prompt: str,
        *,
        guidance: float | None = None,
        negative: str | None = None,
        steps: int | None = None,
        controls: Sequence[Control | str] | None = None,
        paste: ImageLike | None = None,
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
    ) -> Picture: ...

    @overload
    def edit(
        self,
        source: Inversion,
        prompt: list[str],
        *,
        guidance: float | None = None,
        negative: str | None = None,
        steps: int | None = None,
        controls: Sequence[Control | str] | None = None,
        paste: ImageLike | None = None,
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
    ) -> list[Picture]: ...

    @runs
    def edit(
        self,
        source: Inversion,
        prompt: str | list[str],
        *,
        guidance: float | None = None,
        negative: str | None = None,
        steps: int | None = None,
        controls: Sequence[Control | str] | None = None,
        paste: ImageLike | None = None,
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
    ) -> Picture | list[Picture]:
        """The inverted image as `prompt` has it: one image for a prompt, a list, drawn at once, for several.

        `guidance` is as the model's own pipeline has it, mostly active above 1: it follows the prompt harder and leads
        further away from `negative`, what is not wanted, for a second network evaluation per step. `steps` is how many
        the whole way from noise to image takes, where not as many as were inverted; see `rnri.editing.edit.resampled`.
        `controls`, objects or specs like "depth:strength=0.5", say how else the edit is made, see `rnri.controls`.
        Where one of them keeps part of the picture, that part is as the autoencoder has it, or, with the picture itself
        as `paste`, that picture's. The result has the size of the image that was inverted unless `size` says otherwise.
        Raises ValueError for an inversion of another model, and for what is out of range.
        """
        prompts, timings = listed(prompt), timings or Timings()
        check_size(size)
        if steps is not None:
            if controls:
                raise RnriError(
                    f"steps={steps} and controls exclude each other",
                    hint="edit in as many as were inverted",
                    field="steps",
                )
            self._check_model(source)
            source = resampled(source, self.schedule(source.noise, steps=steps, seed=source.seed))
        drawn = self.draw(source, prompts, guidance=guidance, negative=negative, controls=controls, timings=timings)
        pictures = self.finish(source, drawn, paste=paste, size=size, timings=timings)
        return pictures[0] if isinstance(prompt, str) else pictures

    @runs
    def edited(
        self,
        source: Inversion,
        prompt: str,
        *,
        guidance: float | None = None,
        negative: str | None = None,
        controls: Sequence[Control | str] | None = None,
        timings: Timings | None = None,
    ) -> Inversion:
        """The edit as an inversion of itself, to edit again: no picture between, no equation to solve.

        Its latents are those the edit went through, so that `reconstruct` draws the edit, and `edit` and `edited` go on
        from it. What controls did is kept as corrections. The prompt is what it shows from now on.
        """
        (text,) = listed([prompt])
        guidance = self.model.defaults.edit_guidance if guidance is None else guidance
        timings = timings or Timings()
        drawn = self.draw(source, [text], guidance=guidance, negative=negative, controls=controls, timings=timings)
        with timings.measure("edit", self.model.device):
            return retraced(self.denoiser([text], guidance), source, drawn, prompt=text, guidance=guidance)

    @runs
    def draw(
        self,
        source: Inversion,
        prompts: Sequence[str],
        *,
        guidance: float | None = None,
        negative: str | None = None,
        controls: Sequence[Control | str] | None = None,
        timings: Timings | None = None,
    ) -> Drawn:
        """The latents of `edit`, and what they took; `finish` makes pictures of them."""
        self._check_model(source)
        guidance = self.model.defaults.edit_guidance if guidance is None else guidance
        check_guidance(guidance)
        chosen = [find_control(each) if isinstance(each, str) else each for each in controls or ()]
        with (timings or Timings()).measure("edit", self.model.device):
            active = usual(source) if controls is None else chosen
            return draw(self.model, source, prompts, guidance=guidance, negative=negative, controls=active)

    @runs
    def finish(
        self,
        source: Inversion,
        drawn: Drawn,
        *,
        paste: ImageLike | None = None,
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
    ) -> list[Picture]:
        """Latents drawn as pictures, with what was to be kept from the source put back."""
        timings = timings or Timings()
        wide, high = size or source.size or (None, None)
        with timings.measure("decode", self.model.device):
            pixels = self._pixels(drawn.latents[-1], wide, high)
            if paste is not None and not drawn.masks:
                raise RnriError("there is nothing to paste", hint="no control keeps a part of the picture")
            if drawn.masks:
                shape = (pixels.shape[-2], pixels.shape[-1])
                kept = self._pixels(source.clean, wide, high) if paste is None else images.read(paste).to(pixels)
                kept = images.resize(kept, shape)
                share = torch.ones_like(pixels[:, :1])
                for mask in drawn.masks:
                    share = share * images.stretch(mask.to(pixels), shape)
                pixels = kept + share * (pixels - kept)
            return images.to_pil(pixels)

    @runs
    def reconstruct(
        self, source: Inversion, *, size: tuple[int, int] | None = None, timings: Timings | None = None
    ) -> Picture:
        """The inverted image drawn again with its own prompt and guidance: how good the inversion is."""
        timings = timings or Timings()
        check_size(size)
        drawn = self.draw(source, [source.prompt], guidance=source.guidance, controls=(), timings=timings)
        return self.finish(source, drawn, size=size, timings=timings)[0]

    @runs
    def autoencoded(
        self, source: Inversion, *, size: tuple[int, int] | None = None, timings: Timings | None = None
    ) -> Picture:
        """The inverted image after the autoencoder alone: no reconstruction can be expected to be closer."""
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
        """An image from noise, or a list of them: the n-th from `seed` + n, whatever else is in the batch.

        It is drawn in the shape of `size`, about as large as the model was made for, and scaled to it.
        """
        prompts = listed(prompt)
        guidance = self.model.defaults.guidance if guidance is None else guidance
        check_guidance(guidance)
        check_size(size)
        timings = timings or Timings()
        drawn = self._fitting((size[1], size[0])) if size else None
        device, shape = self.model.device, self.model.latent_shape(drawn or self.model.image_size)
        with timings.measure("edit", device):
            draws = torch.cat([torch.randn(1, *shape, generator=generator(seed + n)) for n in range(len(prompts))])
            steps = self.model.defaults.steps if steps is None else steps
            schedule = self.schedule(draws, steps=steps, seed=seed)
            noise = draws.to(device) * self.model.noise_scale(steps, shape)
            latents = sample(self.denoiser(prompts, guidance, negative), schedule, noise)
        pictures = self.decode(latents, size=size, timings=timings)
        return pictures[0] if isinstance(prompt, str) else pictures

    def _fitting(self, size: tuple[int, int]) -> tuple[int, int]:
        return images.fit(size, self.model.image_size, self.model.multiple, self.model.max_side)

    def _pixels(self, latents: Tensor, width: int | None, height: int | None) -> Tensor:
        pixels = self.model.decode(latents)
        return images.resize(pixels, (height, width)) if height and width else pixels

    def _check_model(self, source: Inversion) -> None:
        if source.model != self.model.fingerprint:
            raise RnriError(
                f"the inversion is of model {source.model or 'unknown'}, and {self.model.name} is {self.model.fingerprint}",
                hint="load the model it was made with, or invert the image again",
            )
