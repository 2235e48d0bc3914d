"""Sampling an inversion again: other prompts, controls, another number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from rnri_core.errors import RnriError
from rnri_core.inversion.inversion import Inversion, Trajectory, sample
from rnri_core.sampling.guidance import guided_pair
from rnri_core.sampling.steps import Denoiser, Schedule
from torch import Tensor

from rnri.controls import Bound, Control, Job
from rnri.controls.automatic_mask import AutomaticMask
from rnri.controls.conditions import joined
from rnri.models.attention import attending
from rnri.models.base import Model, guidance_of, is_guided


def bound(model: Model, prompts: Sequence[str], guidance: float | None = None, negative: str | None = None) -> Denoiser:
    """The network bound to prompts, guided away from `negative` in one call of twice the size.

    Without `guidance` there is none; a network that reads the guidance is given it as a number. Raises ValueError for
    guidance that a model has not.
    """
    told, scale = guidance_of(model, model.guidance_threshold if guidance is None else guidance, negative)
    target = model.embed(prompts)
    if scale is None:
        return model.denoiser(target, told)
    pair = model.denoiser(joined([model.unconditional(negative, len(prompts)), target]), told)
    return guided_pair(pair, scale, rule=model.combine)


@dataclass(frozen=True, eq=False)
class Sampled:
    """What sampling an inversion for P prompts gave.

    Attributes:
        trajectory: schedule and latents (P, …) of every step, noise first; those before step ``first`` are the
            inversion's own. Latents that controls changed are not joined by noise maps.
        first: the step that sampling began at.
        masks: where the image may change, each (1 or P, 1, h, w) in [0, 1] of its own size.
        nfe: network evaluations, one for each latent of a batch.
    """

    trajectory: Trajectory
    first: int
    masks: tuple[Tensor, ...]
    nfe: int

    @property
    def latents(self) -> Tensor:
        """The clean latents (P, C, h, w)."""
        return self.trajectory.latents[-1]


def resample(
    model: Model,
    source: Inversion,
    prompts: Sequence[str],
    *,
    guidance: float | None = None,
    negative: str | None = None,
    controls: Sequence[Control] = (),
) -> Sampled:
    """Sample an inversion again, once for each prompt, all in one batch.

    Predictions are combined as the model's family does (:meth:`Model.combine`, mostly m_negative + guidance·(m −
    m_negative)), without ``guidance`` not at all, and push·(m − m_source) is added where a control says so. Controls
    act in the order given. Raises ValueError where one does not fit the inversion, TypeError where it does not fit the
    model.
    """
    active = [control for control in controls if not control.idle]
    unwanted = [text for control in active if (text := control.negative(source.prompt)) is not None]
    if len(unwanted) + bool(negative) > 1:
        raise RnriError("two negative prompts are given", hint="keep one")
    rows = _Rows(
        model,
        source,
        tuple(prompts),
        beside=any(control.beside for control in active),
        unguided=any(control.unguided for control in active),
        negative=unwanted[0] if unwanted else negative,
        guidance=model.guidance_threshold if guidance is None else guidance,
        push=sum(control.push() for control in active),
    )
    bounds = [control.bind(rows.job) for control in active]
    m = rows.denoiser(bounds)
    first = max((bound.first for bound in bounds), default=0)
    latents = [z.to(model.device).expand(len(prompts), -1, -1, -1) for z in source.latents[: first + 1]]

    def blend(k: int, z: Tensor) -> Tensor:
        if source.noise_maps is not None:
            delta = source.noise_maps[first + k].to(z)
            for bound in bounds:
                delta = bound.correct(delta)
            z = z + delta
        for bound in bounds:
            z = bound.blend(first + k, z)
        latents.append(z)
        return z

    hooks = [bound for bound, control in zip(bounds, active, strict=True) if control.attends]
    with attending(model, hooks) if hooks else nullcontext():
        sample(m, source.schedule[first:], latents[-1], callback=blend)
    masks = tuple(mask for bound in bounds if (mask := bound.mask()) is not None)
    nfe = rows.count * (len(source.schedule) - first) + sum(bound.nfe for bound in bounds)
    return Sampled(Trajectory(source.schedule, tuple(latents)), first, masks, nfe)


def sample_noise(
    model: Model, schedule: Schedule, noise: Tensor, prompts: Sequence[str], guidance: float, negative: str | None
) -> Sampled:
    """Sample noise (1, C, h, w) along a schedule, once for each prompt, all in one batch."""
    latents = [noise.to(model.device).expand(len(prompts), -1, -1, -1)]

    def record(k: int, z: Tensor) -> Tensor:
        latents.append(z)
        return z

    sample(bound(model, prompts, guidance, negative), schedule, latents[0], callback=record)
    rows = 2 if is_guided(model, guidance) else 1
    return Sampled(Trajectory(schedule, tuple(latents)), first=0, masks=(), nfe=rows * len(prompts) * len(schedule))


def default_controls(source: Inversion) -> tuple[Control, ...]:
    """The controls of an edit that names none: the automatic mask, where the inversion has noise maps."""
    return () if source.noise_maps is None else (AutomaticMask(),)


def other_steps(source: Inversion, whole: Schedule) -> Schedule:
    """The part of another schedule, ``whole``, that begins at the noise level of an inversion.

    Raises:
        RnriError: where ``whole`` does not pass that noise level, where a sampler adds noise, and for noise that was
            not solved for.
    """
    steps = len(whole)
    if not source.solved:
        raise RnriError(
            f"steps={steps} needs noise that was solved for", hint="invert with inverter='faithful'", field="steps"
        )
    if any(step.c is not None for step in (*source.schedule, *whole)):
        raise RnriError(
            f"steps={steps} needs a sampler that adds no noise", hint="edit in as many as were inverted", field="steps"
        )
    found = torch.tensor(source.schedule[0].levels[:2])
    for k, step in enumerate(whole):
        if torch.allclose(torch.tensor(step.levels[:2]), found, rtol=1e-4, atol=1e-6):
            return whole[k:]
    raise RnriError(
        f"{steps} steps do not pass the noise level at which the inversion ended (t={source.schedule[0].t:g})",
        hint=f"invert in {steps} steps, or with a sampler whose steps start at the same level whatever their number",
        field="steps",
    )


def as_inversion(m: Denoiser, source: Inversion, sampled: Sampled, *, prompt: str, guidance: float) -> Inversion:
    """The inversion of an edit: its own latents, joined by noise maps, for one evaluation a step and no equation.

    ``m`` is the network bound to ``prompt`` at this guidance.
    """
    latents = sampled.trajectory.latents
    maps = [end - step.denoise(m, z) for step, z, end in zip(source.schedule, latents, latents[1:], strict=False)]
    edited = replace(source, trajectory=Trajectory(source.schedule, latents, tuple(maps)), solutions=())
    return edited.described(prompt=prompt, guidance=guidance)


class _Rows:
    """The batch of each step: [source], [source told negative], [negative × P], targets × P, [source prompt × P].

    The first two are of the inversion's latents, all others of the edit's.
    """

    def __init__(
        self,
        model: Model,
        source: Inversion,
        prompts: tuple[str, ...],
        *,
        beside: bool,
        unguided: bool,
        negative: str | None,
        guidance: float,
        push: float,
    ) -> None:
        self.model, self.source, self.push = model, source, push
        self.told, self.guidance = guidance_of(model, guidance, negative)
        size, guided = len(prompts), self.guidance is not None
        self.sources = beside + (unguided and guided)
        self.before = [model.embed([source.prompt])] if beside else []
        if guided:
            self.before.append(model.unconditional(negative, self.sources - beside + size))
        self.after = [model.embed([source.prompt] * size)] if push else []
        self.target = model.embed(prompts)
        first = sum(map(len, self.before))
        targets = slice(first, first + size)
        alone = slice(int(beside), first) if self.sources > beside else None
        self.job = Job(model, source, prompts, beside, targets, self.target.tokens.shape[1], unguided=alone)
        self.count = first + size + sum(map(len, self.after))

    def denoiser(self, bounds: Sequence[Bound]) -> Denoiser:
        """The network on the whole batch, its rows combined to one prediction for each prompt."""
        target, sources, size = self.target, self.sources, len(self.job.prompts)
        for bound in bounds:
            target = bound.condition(target)
        whole = self.model.denoiser(joined([*self.before, target, *self.after]), self.told)
        position = {step.t: k for k, step in enumerate(self.source.schedule)}

        def m(z: Tensor, t: float) -> Tensor:
            k = position[t]
            for bound in bounds:
                bound.k = k
            batch = z.repeat((self.count - sources) // size, 1, 1, 1)
            if sources:
                own = self.source.schedule[k].scale * self.source.latents[k].to(z)
                batch = torch.cat([own.expand(sources, -1, -1, -1), batch])
            said = whole(batch, t)
            prediction = plain = said[self.job.targets]
            if self.guidance is not None:
                prediction = self.model.combine(plain, said[sources : sources + size], self.guidance)
            if self.push:
                prediction = prediction + self.push * (plain - said[-size:])
            for bound in bounds:
                bound.observe(z, plain, prediction)
            return prediction

        return m
