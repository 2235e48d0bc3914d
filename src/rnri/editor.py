"""Image in, Inversion, edited image out: the whole way, and no state kept on it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import torch
from torch import Tensor

from rnri import images, models
from rnri.driver import Solver
from rnri.guidance import guided_pair
from rnri.images import ImageLike, Picture
from rnri.inversion import Inversion, invert, sample
from rnri.models.base import Model
from rnri.schedule import Denoiser, Schedule
from rnri.solvers import solver as find_solver

MAX_GUIDANCE = 100.0
MAX_SEED = 2**63 - 1
MAX_SIDE = 16384

Stage = Literal["load", "encode", "invert", "edit", "decode"]


@dataclass
class Timings:
    """Wall-clock seconds by stage, summed over all the calls it is handed to.

    >>> timings = Timings()
    >>> with timings.measure("edit"):
    ...     pass
    >>> 0 <= timings.edit < 1, timings.load
    (True, 0.0)
    """

    load: float = 0.0
    encode: float = 0.0
    invert: float = 0.0
    edit: float = 0.0
    decode: float = 0.0

    @contextmanager
    def measure(self, stage: Stage, device: torch.device | None = None) -> Iterator[None]:
        """Add the time of the block to a stage, having waited for the device before and after."""
        _wait(device)
        start = time.perf_counter()
        try:
            yield
            _wait(device)
        finally:
            setattr(self, stage, getattr(self, stage) + time.perf_counter() - start)


@dataclass(frozen=True)
class Editor:
    """Edits images by text with one model: invert once, then edit as often as wanted.

    It keeps nothing between calls. Sizes are (width, height), as in PIL. Every call takes `timings`, a `Timings` that
    it adds to. Steps and guidance not given are the model's `defaults`; inverting, guidance is 1 unless given.
    """

    model: Model

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] = "scenes-turbo",
        *,
        device: str | torch.device = "auto",
        dtype: torch.dtype = torch.float32,
    ) -> Editor:
        """An editor with an embedded model, a folder or a Hub id; see `rnri.models.load`."""
        return cls(models.load(os.fspath(name), device=device, dtype=dtype))

    @classmethod
    def from_pipe(cls, pipe: Any) -> Editor:
        """An editor on a diffusers pipeline, whose weights it shares and which it does not change."""
        return cls(models.from_pipe(pipe))

    def invert(
        self,
        image: ImageLike,
        prompt: str,
        *,
        solver: str | Solver = "gnri",
        steps: int | None = None,
        strength: float = 1.0,
        guidance: float = 1.0,
        budget: int | Sequence[int] = 2,
        tol: float | None = None,
        start: Literal["clean", "noised"] = "clean",
        predictor: bool = False,
        correct: bool = False,
        seed: int = 0,
        timings: Timings | None = None,
    ) -> Inversion:
        """The noise from which the model draws this image when told `prompt`, and the whole way there.

        `image` is one picture in any form that `rnri.images.read` takes. A `strength` below 1 inverts only the last
        part of the steps: the edit then changes less. `seed` draws the noise of samplers that add some. For
        `budget`, `tol`, `start`, `predictor` and `correct` see `rnri.inversion.invert`.

        Numerical trouble is no error but a `Status` in the solutions. Raises ValueError for what is out of range.
        """
        prompts = _prompts(prompt)
        _check_guidance(guidance)
        method = find_solver(solver) if isinstance(solver, str) else solver
        timings = timings or Timings()
        with timings.measure("encode", self.model.device):
            pixels = images.read(image)
            if len(pixels) != 1:
                raise ValueError(f"cannot invert a batch of {len(pixels)} images into one: give them one by one")
            height, width = pixels.shape[-2:]
            size = images.fit((height, width), self.model.image_size, self.model.multiple)
            schedule = self._schedule(steps, strength, seed, self.model.latent_shape(size))
            latents = self.model.encode(images.resize(pixels, size))
        with timings.measure("invert", self.model.device):
            denoiser = self._denoiser(prompts, guidance)
            found = invert(
                denoiser,
                schedule,
                latents,
                method,
                budget=budget,
                tol=tol,
                start=start,
                predictor=predictor,
                correct=correct,
                seed=seed,
            )
        return replace(found, prompt=prompt, model=self.model.fingerprint, size=(width, height), guidance=guidance)

    @overload
    def edit(
        self,
        source: Inversion,
        prompt: str,
        *,
        guidance: float | None = None,
        negative: str = "",
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
        negative: str = "",
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
    ) -> list[Picture]: ...

    def edit(
        self,
        source: Inversion,
        prompt: str | list[str],
        *,
        guidance: float | None = None,
        negative: str = "",
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
    ) -> Picture | list[Picture]:
        """The inverted image as `prompt` has it: one image for a prompt, a list, drawn at once, for several.

        `guidance` above 1 follows the prompt harder and `negative`, what is not wanted, further away; both cost a
        second network evaluation per step. The result has the size of the image that was inverted unless `size` says
        otherwise. Raises ValueError for an inversion of another model, and for what is out of range.
        """
        prompts = _prompts(prompt)
        pictures = self._draw(source, prompts, guidance, negative, size, timings or Timings())
        return pictures[0] if isinstance(prompt, str) else pictures

    def reconstruct(
        self, source: Inversion, *, size: tuple[int, int] | None = None, timings: Timings | None = None
    ) -> Picture:
        """The inverted image drawn again with its own prompt and guidance: how good the inversion is."""
        return self._draw(source, [source.prompt], source.guidance, "", size, timings or Timings())[0]

    def autoencoded(
        self, source: Inversion, *, size: tuple[int, int] | None = None, timings: Timings | None = None
    ) -> Picture:
        """The inverted image after the autoencoder alone: no reconstruction can be expected to be closer."""
        self._check_model(source)
        _check_size(size)
        return self._decode(source.clean, size or source.size, timings or Timings())[0]

    @overload
    def generate(
        self,
        prompt: str,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        negative: str = "",
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
        negative: str = "",
        seed: int = 0,
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
    ) -> list[Picture]: ...

    def generate(
        self,
        prompt: str | list[str],
        *,
        steps: int | None = None,
        guidance: float | None = None,
        negative: str = "",
        seed: int = 0,
        size: tuple[int, int] | None = None,
        timings: Timings | None = None,
    ) -> Picture | list[Picture]:
        """An image from noise, or a list of them: the n-th from `seed` + n, whatever else is in the batch."""
        prompts = _prompts(prompt)
        guidance = self.model.defaults.guidance if guidance is None else guidance
        _check_guidance(guidance, negative)
        _check_size(size)
        timings = timings or Timings()
        device, shape = self.model.device, self.model.latent_shape(self.model.image_size)
        with timings.measure("edit", device):
            schedule = self._schedule(steps, 1.0, seed, shape)
            deviation = math.hypot(*schedule[0].levels[:2])
            draws = [torch.randn(1, *shape, generator=_generator(seed + n)) for n in range(len(prompts))]
            noise = torch.cat(draws).to(device) * deviation
            latents = sample(self._denoiser(prompts, guidance, negative), schedule, noise)
        pictures = self._decode(latents, size, timings)
        return pictures[0] if isinstance(prompt, str) else pictures

    def _draw(
        self,
        source: Inversion,
        prompts: list[str],
        guidance: float | None,
        negative: str,
        size: tuple[int, int] | None,
        timings: Timings,
    ) -> list[Picture]:
        self._check_model(source)
        guidance = self.model.defaults.guidance if guidance is None else guidance
        _check_guidance(guidance, negative)
        _check_size(size)
        with timings.measure("edit", self.model.device):
            noise = source.noise.to(self.model.device).expand(len(prompts), -1, -1, -1)
            denoiser = self._denoiser(prompts, guidance, negative)
            latents = sample(denoiser, source.schedule, noise, corrections=source.corrections)
        return self._decode(latents, size or source.size, timings)

    def _decode(self, latents: Tensor, size: tuple[int, int] | None, timings: Timings) -> list[Picture]:
        with timings.measure("decode", self.model.device):
            pixels = self.model.decode(latents)
            return images.to_pil(images.resize(pixels, (size[1], size[0])) if size else pixels)

    def _schedule(self, steps: int | None, strength: float, seed: int, shape: tuple[int, int, int]) -> Schedule:
        steps = self.model.defaults.steps if steps is None else steps
        return self.model.schedule(steps, strength=strength, generator=_generator(seed), shape=shape)

    def _denoiser(self, prompts: list[str], guidance: float, negative: str = "") -> Denoiser:
        """The network bound to the prompts, guided away from `negative` in one call of twice the size."""
        if guidance == 1:
            return self.model.denoiser(self.model.embed(prompts))
        return guided_pair(self.model.denoiser(self.model.embed([negative] * len(prompts) + prompts)), guidance)

    def _check_model(self, source: Inversion) -> None:
        if source.model != self.model.fingerprint:
            raise ValueError(
                f"the inversion is of model {source.model or 'unknown'}, and {self.model.name} is "
                f"{self.model.fingerprint}: load the model it was made with, or invert the image again"
            )


def _prompts(prompt: str | list[str]) -> list[str]:
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not prompts:
        raise ValueError("there is no prompt in the list: give at least one")
    for text in prompts:
        if not text.strip():
            raise ValueError(f"the prompt {text!r} is empty: say what the image shows")
    return prompts


def _check_guidance(guidance: float, negative: str = "") -> None:
    if not 0 <= guidance <= MAX_GUIDANCE:
        raise ValueError(f"guidance={guidance} is out of range: give 0 to {MAX_GUIDANCE:g}, 1 for none")
    if negative and guidance == 1:
        raise ValueError(f"the negative prompt {negative!r} has no effect at guidance 1: raise the guidance")


def _check_size(size: tuple[int, int] | None) -> None:
    if size and not all(isinstance(side, int) and 1 <= side <= MAX_SIDE for side in size):
        raise ValueError(f"size={size} is out of range: give a width and a height from 1 to {MAX_SIDE}")


def _generator(seed: int) -> torch.Generator:
    """Noise is always drawn on the CPU, so that a seed means the same on every device."""
    if not (isinstance(seed, int) and 0 <= seed <= MAX_SEED):
        raise ValueError(f"seed={seed} is out of range: give a whole number from 0 to {MAX_SEED}")
    return torch.Generator().manual_seed(seed)


def _wait(device: torch.device | None) -> None:
    if device is not None and device.type != "cpu":
        torch.accelerator.synchronize(device)
