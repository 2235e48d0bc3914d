"""Sampling an inversion again: other prompts, controls, another number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from rnri_core.controls.base import ControlState
from rnri_core.controls.sampling import Sampled, run
from rnri_core.errors import RnriError
from rnri_core.inversion.inversion import Inversion, Trajectory, sample
from rnri_core.sampling.guidance import guided_pair
from rnri_core.sampling.steps import Denoiser, Schedule
from torch import Tensor

from rnri.controls import AnyControl, EditContext, ModelControl
from rnri.controls.conditions import joined
from rnri.models.attention import attending
from rnri.models.attention_hooks import AttentionHook
from rnri.models.base import Model, guidance_of, is_guided


def bound(model: Model, prompts: Sequence[str], guidance: float | None = None, negative: str | None = None) -> Denoiser:
    """The network bound to prompts, guided away from ``negative`` in one call of twice the size.

    Args:
        model: the model.
        prompts: P target prompts.
        guidance: guidance scale; none if not given. A network that reads the guidance is given it as a number.
        negative: the negative prompt.

    Raises:
        RnriError: for guidance, or a negative prompt, that the model does not take.
    """
    embedded, scale = guidance_of(model, model.guidance_threshold if guidance is None else guidance, negative)
    target = model.embed(prompts)
    if scale is None:
        return model.denoiser(target, embedded)
    pair = model.denoiser(joined([model.unconditional(negative, len(prompts)), target]), embedded)
    return guided_pair(pair, scale, rule=model.combine)


def resample(
    model: Model,
    source: Inversion,
    prompts: Sequence[str],
    *,
    guidance: float | None = None,
    negative: str | None = None,
    controls: Sequence[AnyControl] = (),
) -> Sampled:
    """Sample an inversion again, once for each prompt, all in one batch.

    Predictions are combined by the rule of the model's family (:meth:`Model.combine`, mostly m_negative +
    guidance·(m − m_negative)); where a control has pseudo-guidance w, w·(m − m_source) is added.

    Args:
        model: the model that made the inversion.
        source: the inversion.
        prompts: P target prompts.
        guidance: guidance scale; none if not given.
        negative: the negative prompt.
        controls: act in this order.

    Raises:
        RnriError: where a control does not fit the inversion, and for two negative prompts.
        RnriTypeError: where a control does not fit the model.
    """
    active = [control for control in controls if not control.idle]
    needs = [control for control in active if isinstance(control, ModelControl)]
    negatives = [text for control in needs if (text := control.negative_prompt(source.prompt)) is not None]
    if len(negatives) + bool(negative) > 1:
        raise RnriError("two negative prompts are given", hint="keep one")
    batch = _Batch(
        model,
        source,
        tuple(prompts),
        needs,
        negative=negatives[0] if negatives else negative,
        guidance=model.guidance_threshold if guidance is None else guidance,
    )
    states: list[ControlState] = [control.state(batch.context) for control in active]
    with attending(model, [state for state in states if isinstance(state, AttentionHook)]) as begin:

        def predict(k: int, z: Tensor) -> tuple[Tensor, Tensor]:
            begin(k)
            return batch.predict(k, z)

        return run(predict, batch.context, states, rows=batch.rows, device=model.device)


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


class _Batch:
    """The network's batch at each step: [source], [source, negative], [negative × P], targets × P, [source prompt × P].

    The first two rows are of the inversion's latents, all others of the edit's. Of ``context``, controls read the rows.
    """

    def __init__(
        self,
        model: Model,
        source: Inversion,
        prompts: tuple[str, ...],
        controls: Sequence[ModelControl],
        *,
        negative: str | None,
        guidance: float,
    ) -> None:
        self.model, self.size = model, len(prompts)
        guidance_embedding, self.guidance = guidance_of(model, guidance, negative)
        guided = self.guidance is not None
        self.pseudo_guidance = sum(control.pseudo_guidance() for control in controls)
        beside = any(control.needs_source for control in controls)
        negative_beside = guided and any(control.needs_negative_source for control in controls)
        self.sources = beside + negative_beside
        before = [model.embed([source.prompt])] if beside else []
        if guided:
            before.append(model.unconditional(negative, negative_beside + self.size))
        after = [model.embed([source.prompt] * self.size)] if self.pseudo_guidance else []
        target = model.embed(prompts)
        first = sum(map(len, before))
        self.rows = first + self.size + sum(map(len, after))
        self.context = EditContext(
            model=model,
            source=source,
            prompts=prompts,
            count=self.size,
            source_guided=is_guided(model, source.guidance),
            length=target.tokens.shape[1],
            targets=slice(first, first + self.size),
            negatives=slice(int(beside), first) if negative_beside else None,
        )
        for control in controls:
            target = control.condition(self.context, target)
        self.network = model.denoiser(joined([*before, target, *after]), guidance_embedding)

    def predict(self, k: int, z: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs for the target prompts without and with guidance, from one call on the whole batch."""
        step, sources = self.context.source.schedule[k], self.sources
        batch = (step.scale * z).repeat((self.rows - sources) // self.size, 1, 1, 1)
        if sources:
            own = step.scale * self.context.source.latents[k].to(z)
            batch = torch.cat([own.expand(sources, -1, -1, -1), batch])
        outputs = self.network(batch, step.t)
        output = conditional = outputs[self.context.targets]
        if self.guidance is not None:
            output = self.model.combine(conditional, outputs[sources : sources + self.size], self.guidance)
        if self.pseudo_guidance:
            output = output + self.pseudo_guidance * (conditional - outputs[-self.size :])
        return conditional, output
