"""Rival methods: by what each promises, by each other at their limits, and by calls counted at the network."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from rnri_core.sampling.schedules import flow
from rnri_core.sampling.steps import Schedule
from rnri_core.sampling.strength import last
from torch import Tensor

from rnri.baselines import METHODS, MethodResult, method
from rnri.baselines.canvas import Canvas, Rival
from rnri.baselines.fireflow import _walked as fireflow
from rnri.baselines.flow_edit import FlowEdit
from rnri.baselines.infedit import InfEdit
from rnri.baselines.rf_solver import _walked as rf_solver
from rnri.editing.editor import Editor
from rnri.models.families.stable_diffusion import StableDiffusion
from tests import tiny
from tests.test_editor import ONE_LEVEL, OTHER, SOURCE, TARGET, picture, same

FLOWS = ("rf-inversion", "rf-solver", "fireflow", "flowedit")
REPRODUCING = [
    "inversion:inverter=fixed-point,iterations=12",
    "inversion:inverter=explicit,noise_maps=true",
    "sdedit:strength=0",
    "sdedit:strength=0.2",
    "edit-friendly",
    "edit-friendly:strength=1",
    "inversion",
    "edict",
    "edict:mixing=0.8,source_guidance=1",
    "bdia",
    "bdia:weight=0.9",
    "turboedit",
    "turboedit:shift=0,weight=3",
    "turboedit:shift=9",
    "ledits++",
    "ledits++:attention=0,scale=3",
    "infedit",
    "rf-inversion:eta=1,stop=1",
    "flowedit",
    "flowedit:strength=1,draws=2",
]
"""Methods that promise the picture when the target is the source prompt."""


class Flow(StableDiffusion):
    """The tiny network taken for a rectified flow's velocity."""

    def schedule(
        self,
        num_steps: int,
        *,
        generator: torch.Generator | None = None,
        strength: float = 1.0,
        shape: tuple[int, int, int] | None = None,
    ) -> Schedule:
        levels = [1 - k / num_steps for k in range(num_steps + 1)]
        return last(flow(levels, [1000 * sigma for sigma in levels[:-1]]), strength)


@pytest.fixture(scope="module")
def diffusion() -> Editor:
    return Editor.from_pipe(tiny.pipeline())


@pytest.fixture(scope="module")
def rectified() -> Editor:
    return Editor(Flow.from_pipe(tiny.pipeline()))


@pytest.fixture
def editor_for(diffusion: Editor, rectified: Editor) -> Callable[[str], Editor]:
    return lambda spec: rectified if spec.partition(":")[0] in FLOWS else diffusion


@pytest.fixture(autouse=True)
def global_state_untouched() -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


def steps(spec: str, count: int = 4) -> str:
    shallow = ",level=0" if spec.startswith("ledits++") else ""  # the tiny network has no attention further in
    return f"{spec}{',' if ':' in spec else ':'}steps={count}{shallow}"


def edit(editor: Editor, spec: str, *targets: str, seed: int = 0, count: int = 4) -> MethodResult:
    return method(steps(spec, count)).edit(editor, picture(), SOURCE, list(targets), seed=seed)


def as_autoencoded(editor: Editor) -> Any:
    latents, size = editor.encode(picture())
    return editor.decode(latents, size=size)[0]


# --- what is promised -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", REPRODUCING)
def test_the_source_prompt_gives_the_picture_back(editor_for: Callable[[str], Editor], spec: str) -> None:
    editor = editor_for(spec)
    result = edit(editor, f"{spec}{',' if ':' in spec else ':'}guidance=1", SOURCE)
    assert same(result.pictures[0], as_autoencoded(editor), ONE_LEVEL)


@pytest.mark.parametrize("name", METHODS)
def test_another_prompt_gives_another_picture(editor_for: Callable[[str], Editor], name: str) -> None:
    editor = editor_for(name)
    result = edit(editor, f"{name}:guidance=2" if name != "turboedit" else name, TARGET, OTHER, count=2)
    assert [each.size for each in result.pictures] == [(30, 20)] * 2
    assert not same(result.pictures[0], result.pictures[1])
    assert not same(result.pictures[0], as_autoencoded(editor))
    assert result.seconds > 0
    again = edit(editor, f"{name}:guidance=2" if name != "turboedit" else name, OTHER, count=2)
    assert same(again.pictures[0], result.pictures[1], ONE_LEVEL)


@pytest.mark.parametrize("name", METHODS)
def test_calls_are_those_the_network_sees(editor_for: Callable[[str], Editor], name: str) -> None:
    editor, rows = editor_for(name), []
    network = editor.model.unet
    handle = network.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    try:
        options = ",inverter=fixed-point,controls='diffedit-mask; masactrl'" if name == "inversion" else ""
        result = edit(editor, f"{name}:guidance=2{options}", TARGET, OTHER, count=2)
    finally:
        handle.remove()
    assert (result.nfe, result.njvp, result.nvjp, result.calls) == (sum(rows), 0, 0, sum(rows))
    assert (
        (result.status == "NOT_SOLVED") is (result.residual is None) is (name not in ("inversion", "direct-inversion"))
    )


@pytest.mark.parametrize("name", ["sdedit", "edit-friendly", "turboedit", "infedit", "rf-inversion", "flowedit"])
def test_noise_is_drawn_by_the_seed(editor_for: Callable[[str], Editor], name: str) -> None:
    first, again, other = (edit(editor_for(name), name, TARGET, seed=seed, count=2).pictures[0] for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("name", FLOWS)
def test_methods_for_flows_refuse_other_models(diffusion: Editor, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is for rectified flows, and .* is none: use infedit or inversion"):
        edit(diffusion, name, TARGET)


# --- limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("turboedit:shift=0,weight=1", "edit-friendly:strength=1,guidance=1"),
        ("ledits++:strength=1,scale=1,quantile=0,attention=0", "edit-friendly:strength=1,guidance=1"),
        ("direct-inversion:cross=0,layout=0,guidance=2", "inversion:inverter=explicit,iterations=1,guidance=2"),
        ("flowedit:strength=0.5,sampled=1,guidance=1", "sdedit:strength=0.5,guidance=1"),
        (
            "inversion:controls='start-step:strength=0.5',inverter=fixed-point",
            "inversion:strength=0.5,inverter=fixed-point",
        ),
    ],
)
def test_methods_meet_at_their_limits(diffusion: Editor, rectified: Editor, one: str, other: str) -> None:
    editor = rectified if "flowedit" in one else diffusion
    assert same(edit(editor, one, TARGET).pictures[0], edit(editor, other, TARGET).pictures[0], ONE_LEVEL)


def test_what_a_preset_decides_can_be_decided_otherwise(diffusion: Editor) -> None:
    def found(settings: str) -> tuple[int, float | None]:
        edited = edit(diffusion, f"inversion:{settings}", TARGET)
        return edited.nfe, edited.residual

    calls, residual = whole = found("inverter=auto")
    assert found("noise_maps=true,init=noised-predicted") == whole
    assert found("noise_maps=false")[0] == calls - 4  # a noise map is a call for each step
    others = [found(setting) for setting in ("init=predicted", "init=noised", "init=clean")]
    assert [nfe for nfe, _ in others] == [calls] * 3
    assert len({residual, *(each for _, each in others)}) == 4
    plain = found("inverter=fixed-point")
    assert found("inverter=fixed-point,init=clean,noise_maps=false") == plain
    assert found("inverter=fixed-point,noise_maps=true")[0] == plain[0] + 4


def test_infedit_is_the_update_of_its_paper(diffusion: Editor) -> None:
    """z₀ ← (z_τ − σ(ε_target − ε_source + ε_consistent))/α, of networks that predict ε."""
    latents, _ = diffusion.encode(picture())
    schedule = diffusion.schedule(latents, steps=3)
    canvas = Canvas(diffusion, latents, schedule, SOURCE, [TARGET], torch.Generator().manual_seed(0))
    found = InfEdit(steps=3).draw(canvas, 1.0)

    same_noise = torch.Generator().manual_seed(0)
    theirs, ours = diffusion.denoiser([SOURCE]), diffusion.denoiser([TARGET])
    end, edited = schedule[-1].levels[2:], latents
    for step in schedule:
        alpha, sigma = step.levels[0] / end[0], step.levels[1]
        sigma = math.sqrt(sigma**2 - (alpha * end[1]) ** 2)
        noise = torch.randn(latents.shape[1:], generator=same_noise)
        x, y = alpha * latents + sigma * noise, alpha * edited + sigma * noise
        with torch.no_grad():
            change = ours(y, step.t) - theirs(x, step.t)
        edited = (y - step.levels[1] / step.levels[0] * alpha * change - sigma * noise) / alpha
    torch.testing.assert_close(found, edited, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("walk", "calls"), [(rf_solver, 2), (fireflow, 1)])
def test_flow_solvers_are_of_second_order(walk: Any, calls: int) -> None:
    """dz/dσ = −z·cos σ from 1 to 0: z(0) = z(1)·exp(sin 1)."""
    errors, seen = [], 0

    def v(z: Tensor, sigma: float) -> Tensor:
        nonlocal seen
        seen += 1
        return -z * math.cos(sigma)

    for count in (20, 40):
        seen = 0
        levels = np.linspace(1, 0, count + 1).tolist()
        found = walk(v, levels, torch.ones(1, dtype=torch.float64))
        errors.append(abs(found.item() - math.exp(math.sin(1))))
        assert seen == calls * count + (calls == 1)
    assert 3.3 < errors[0] / errors[1] < 4.7


def test_flowedits_published_settings_take_the_published_steps(rectified: Editor) -> None:
    """n_max of the authors' SD3_exp.yaml and FLUX_exp.yaml; each step evaluates two guided velocities."""
    specs = re.findall(r"``(flowedit:\S+)``", FlowEdit.__doc__ or "")
    made = [method(spec) for spec in specs]
    found = [each.edit(rectified, picture(), SOURCE, [TARGET]).nfe // 4 for each in made]
    assert dict(zip(specs, found, strict=True)) == {
        "flowedit:steps=50,strength=0.66,source_guidance=3.5,guidance=13.5": 33,
        "flowedit:steps=28,strength=0.86,source_guidance=1.5,guidance=5.5": 24,
    }


def test_a_steered_flow_is_less_steered_later(rectified: Editor) -> None:
    """The longer RF-Inversion is steered to the picture, the closer it stays."""
    target = np.asarray(as_autoencoded(rectified), np.float64)
    off = []
    for stop in (0, 0.5, 1):
        result = edit(rectified, f"rf-inversion:eta=0.9,stop={stop},guidance=4", TARGET).pictures[0]
        off.append(np.abs(np.asarray(result) - target).mean())
    assert off == sorted(off, reverse=True)


# --- specs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("magic", "no method is called 'magic'; there are inversion, sdedit"),
        ("sdedit:strength=2", "method 'sdedit': strength=2.0 is outside 0 to 1"),
        ("inversion:iterations='0,1'", "iterations='0,1' is no plan"),
        ("inversion:noise_maps=perhaps", "noise_maps='perhaps' is not a bool"),
        ("inversion:init=late", "init='late' is not one of clean, noised, predicted, noised-predicted"),
        ("inversion:init", "needs a value, as in inversion:init=clean"),
        ("inversion:inverter=magic", "no solver is called 'magic'"),
        ("inversion:controls='start-step;magic'", "no control is called 'magic'"),
    ],
)
def test_specs_that_make_no_sense(spec: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        method(spec)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_where_it_comes_from(name: str) -> None:
    kind = METHODS[name]
    assert kind.source.bibtex().startswith("@")
    assert kind.passage
    assert kind.__doc__
    assert issubclass(kind, Rival) or name in ("inversion", "direct-inversion")
