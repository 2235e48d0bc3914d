"""Edits of an engine: those of the editor, alone and in shared network calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rnri.controls import CONTROLS, AnyControl
from rnri.editing.config import EditConfig
from rnri.editing.editor import Editor
from rnri.images import encode
from rnri.web.engine import EditTask, Engine, Limits
from tests import tiny
from tests.engines import CONFIG, OTHER, SOURCE, TARGET, Gate, control_with, invert, picture, same


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.from_pipe(tiny.pipeline())


@pytest.fixture
def engine(editor: Editor) -> Iterator[Engine]:
    with Engine(editor) as engine:
        yield engine


# --- edits are those of the editor --------------------------------------------------------------------------------


def test_an_edit_is_that_of_the_editor(engine: Engine, editor: Editor) -> None:
    found = engine.invert(encode(picture()), SOURCE, CONFIG).result()
    source = editor.invert(picture(), SOURCE, steps=4, iterations=1)
    edited = engine.edit(found.id, EditTask((TARGET,), EditConfig(2.0, OTHER))).result()
    assert same(edited.pictures[0], editor.edit(source, TARGET, guidance=2.0, negative=OTHER).picture, 0)
    assert (edited.cost.nfe, edited.batch, edited.recomputed) == (8, 1, False)
    assert ((found.width, found.height), found.steps, found.cost.nfe) == ((30, 20), 4, source.nfe)
    assert found.quality.psnr_db is not None
    assert found.quality.bound_db is not None
    assert found.quality.psnr_db <= found.quality.bound_db + 1
    assert found.inverter == source.provenance.inverter != "auto"
    assert found.cost.seconds.invert > 0 < edited.cost.seconds.decode


@pytest.mark.parametrize("noise_maps", [False, True])
@pytest.mark.parametrize("strength", [0.25, 0.5, 0.75])
def test_a_weaker_edit_needs_no_inversion(engine: Engine, editor: Editor, strength: float, noise_maps: bool) -> None:
    id, calls = invert(engine, noise_maps=noise_maps), engine.counts["calls"]
    edited = engine.edit(id, EditTask((TARGET,), strength=strength)).result()
    assert engine.counts["calls"] - calls == 4 * strength
    source = editor.invert(picture(), SOURCE, steps=4, iterations=1, noise_maps=noise_maps, strength=strength)
    assert same(edited.pictures[0], editor.edit(source, TARGET).picture, 0)


def test_remarks_go_to_the_edit_that_they_are_about(model: object) -> None:
    with Engine(Editor.from_pretrained(str(model), device="cpu")) as engine:
        id = invert(engine)
        gate = Gate(engine)
        tickets = [engine.edit(id, EditTask((prompt,)), session=prompt) for prompt in ("a red zebra", SOURCE)]
        gate.open()
        strange, plain = (ticket.result() for ticket in tickets)
        assert (strange.batch, plain.batch) == (2, 2)
        assert "does not know zebra" in strange.remarks[0]
        assert plain.remarks == ()


# --- shared calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"config": EditConfig(2.0, OTHER)}, {"strength": 0.5}])
def test_edits_together_equal_edits_alone(engine: Engine, options: dict[str, Any]) -> None:
    ids = [invert(engine, seed, noise_maps=True) for seed in range(3)]
    drawings = [(id, EditTask((prompt,), **options)) for id in ids for prompt in (TARGET, OTHER)]
    alone = [engine.edit(id, drawing).result() for id, drawing in drawings]
    calls, gate = engine.counts["calls"], Gate(engine)
    tickets = [engine.edit(id, drawing, session=str(n)) for n, (id, drawing) in enumerate(drawings)]
    gate.open()
    together = [ticket.result() for ticket in tickets]
    assert engine.counts["calls"] - calls == 4 * options.get("strength", 1)
    for one, other in zip(together, alone, strict=True):
        assert (one.batch, other.batch) == (6, 1)
        assert one.cost.nfe == other.cost.nfe
        assert same(one.pictures[0], other.pictures[0])


def control(name: str) -> AnyControl:
    """A control with values at which it changes something."""
    kind = CONTROLS[name]
    return kind(**{each.name: VALUES[each.name] for each in kind.options() if each.name in VALUES})


VALUES: dict[str, Any] = {
    "level": 0,
    "mask": np.tile(np.array([0, 255], np.uint8), (4, 2)),
    "word": "ball",
    "weight": 3.0,
    "prompt": OTHER,
}


@pytest.fixture(scope="module")
def shared(editor: Editor) -> Iterator[tuple[Engine, str]]:
    """An engine and the id of an inversion of two steps with noise maps."""
    with Engine(editor) as engine:
        yield engine, invert(engine, steps=2, noise_maps=True)


@pytest.mark.parametrize("name", CONTROLS)
def test_several_targets_of_a_control_are_those_of_the_editor(
    shared: tuple[Engine, str], editor: Editor, name: str
) -> None:
    (engine, id), controls = shared, (control(name),)
    prompts, source = [TARGET, "a green ball on the sand", "a small red ball"], engine.find(id).inversion
    assert not controls[0].idle
    assert source is not None
    for count in (2, 3):
        edited = engine.edit(id, EditTask(tuple(prompts[:count]), EditConfig(2.0, controls=controls))).result()
        expected = editor.edit(source, prompts[:count], guidance=2.0, controls=controls).pictures
        assert all(same(*pair, 0) for pair in zip(edited.pictures, expected, strict=True))


def test_no_controls_are_not_the_usual_ones(shared: tuple[Engine, str], editor: Editor) -> None:
    (engine, id), configs = shared, (EditConfig(), EditConfig(controls=()))
    source, gate = engine.find(id).inversion, Gate(engine)
    assert source is not None
    tickets = [engine.edit(id, EditTask((TARGET,), config)) for config in configs]
    gate.open()
    for ticket, config in zip(tickets, configs, strict=True):
        assert same(ticket.result().pictures[0], editor.edit(source, TARGET, config).picture, 0)


def test_what_differs_is_not_drawn_together(engine: Engine) -> None:
    long, short = invert(engine), invert(engine, steps=2)
    different = [
        (long, EditTask((TARGET,))),
        (short, EditTask((TARGET,))),
        (long, EditTask((TARGET,), EditConfig(2.0))),
        (long, EditTask((TARGET,), size=(8, 8))),
        (long, EditTask((TARGET,), strength=0.5)),
        (long, EditTask((TARGET,), EditConfig(controls=(control_with("strength"),)))),
    ]
    gate = Gate(engine)
    tickets = [engine.edit(id, drawing) for id, drawing in different]
    gate.open()
    assert [ticket.result().batch for ticket in tickets] == [1] * 6


def test_no_more_than_the_limit_are_drawn_together(editor: Editor) -> None:
    with Engine(editor, Limits(batch=4)) as engine:
        id, gate = invert(engine), Gate(engine)
        tickets = [engine.edit(id, EditTask((TARGET,) * count)) for count in (2, 1, 2, 3)]
        gate.open()
        assert [ticket.result().batch for ticket in tickets] == [3, 3, 2, 3]
        assert [len(ticket.result().pictures) for ticket in tickets] == [2, 1, 2, 3]


def test_one_bad_request_spoils_no_other(engine: Engine) -> None:
    id, gate = invert(engine), Gate(engine)
    tickets = [engine.edit(id, EditTask((prompt,))) for prompt in (TARGET, " ", OTHER)]
    gate.open()
    for ticket in (tickets[0], tickets[2]):
        assert ticket.result().pictures[0].size == (30, 20)
    with pytest.raises(ValueError, match="the prompt ' ' is empty"):
        tickets[1].result()
