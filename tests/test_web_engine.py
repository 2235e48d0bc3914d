"""One model for many threads: fair turns, the newest request wins, shared calls give the picture of calls alone."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import partial
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from rnri_core.inversion.config import InversionConfig
from rnri_core.registry import RENAMED

from rnri.controls import CONTROLS, Control
from rnri.editing.config import EditConfig
from rnri.editing.editor import Editor
from rnri.images import encode
from rnri.web.engine import Drawing, Engine, Limits, Missing
from rnri.web.store import Settings
from rnri.web.tickets import Cancelled, Closed, Full, Late, Superseded
from tests import tiny

SOURCE, TARGET, OTHER = "a red ball on sand", "a blue ball on sand", "a small green cube"
SETTINGS = Settings(steps=4, budget=1)
ONE_LEVEL = 1  # of 255: float32 noise may fall on either side of a rounding


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.from_pipe(tiny.pipeline())


@pytest.fixture
def engine(editor: Editor) -> Iterator[Engine]:
    with Engine(editor) as engine:
        yield engine


class Gate:
    """Holds the engine's thread in work of its own until it is opened, so that requests pile up behind it."""

    def __init__(self, engine: Engine) -> None:
        self._open, entered = threading.Event(), threading.Event()

        def hold(_: Editor) -> None:
            entered.set()
            assert self._open.wait(30)

        self._ticket = engine.do(hold, session="gate")
        assert entered.wait(30)

    def open(self) -> None:
        self._open.set()
        self._ticket.result()


def picture(seed: int = 0, height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def invert(engine: Engine, seed: int = 0, **settings: Any) -> str:
    return engine.invert(picture(seed), SOURCE, Settings(**{**asdict(SETTINGS), **settings})).result().id


def same(one: Image.Image, other: Image.Image, levels: int = ONE_LEVEL) -> bool:
    difference = np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16))
    return one.size == other.size and bool(difference.max() <= levels)


# --- what is asked for is what is given -------------------------------------------------------------------------


def test_the_settings_are_those_of_the_editor() -> None:
    known = {each.name: each.default for each in fields(InversionConfig)}
    assert {RENAMED.get(name, name): value for name, value in asdict(Settings()).items()}.items() <= known.items()
    assert Settings().config() == InversionConfig()
    taken = {each.name for each in fields(EditConfig)} | set(inspect.signature(Editor.edit).parameters)
    assert set(asdict(Drawing(()))) - {"prompts", "strength"} <= taken


@pytest.mark.parametrize(
    ("settings", "init"),
    [
        ({}, None),
        ({"start": "noised"}, "noised-predicted"),
        ({"predictor": False}, "noised"),
        ({"start": "clean"}, "predicted"),
        ({"start": "clean", "predictor": False}, "clean"),
        ({"solver": "gnri", "start": "noised"}, "noised"),
        ({"solver": "gnri", "predictor": True}, "predicted"),
        ({"solver": "faithful", "predictor": False}, "clean"),
    ],
)
def test_what_is_not_said_of_the_initial_guess_is_the_presets(settings: dict[str, Any], init: str | None) -> None:
    assert Settings(**settings).config().init == init


def test_an_edit_is_that_of_the_editor(engine: Engine, editor: Editor) -> None:
    found = engine.invert(encode(picture()), SOURCE, SETTINGS).result()
    source = editor.invert(picture(), SOURCE, steps=4, iterations=1)
    edited = engine.edit(found.id, Drawing((TARGET,), guidance=2.0, negative=OTHER)).result()
    assert same(edited.pictures[0], editor.edit(source, TARGET, guidance=2.0, negative=OTHER).picture, 0)
    assert (edited.cost.nfe, edited.batch, edited.again) == (8, 1, False)
    assert (found.size, found.steps, found.cost.nfe) == ((30, 20), 4, source.nfe)
    assert found.quality.psnr_db is not None
    assert found.quality.bound_db is not None
    assert found.quality.psnr_db <= found.quality.bound_db + 1
    assert found.cost.timings.invert > 0 < edited.cost.timings.decode


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("strength", [0.25, 0.5, 0.75])
def test_a_weaker_edit_needs_no_inversion(engine: Engine, editor: Editor, strength: float, correct: bool) -> None:
    id, calls = invert(engine, correct=correct), engine.counts["calls"]
    edited = engine.edit(id, Drawing((TARGET,), strength=strength)).result()
    assert engine.counts["calls"] - calls == 4 * strength
    source = editor.invert(picture(), SOURCE, steps=4, iterations=1, noise_maps=correct, strength=strength)
    assert same(edited.pictures[0], editor.edit(source, TARGET).picture, 0)


def test_what_the_model_cannot_read_is_told_to_who_said_it(model: object) -> None:
    with Engine(Editor.from_pretrained(str(model), device="cpu")) as engine:
        id = invert(engine)
        gate = Gate(engine)
        tickets = [engine.edit(id, Drawing((prompt,)), session=prompt) for prompt in ("a red zebra", SOURCE)]
        gate.open()
        strange, plain = (ticket.result() for ticket in tickets)
        assert (strange.batch, plain.batch) == (2, 2)
        assert "does not know zebra" in strange.remarks[0]
        assert plain.remarks == ()


# --- shared calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"guidance": 2.0, "negative": OTHER}, {"strength": 0.5}])
def test_edits_together_equal_edits_alone(engine: Engine, options: dict[str, Any]) -> None:
    ids = [invert(engine, seed, correct=True) for seed in range(3)]
    drawings = [(id, Drawing((prompt,), **options)) for id in ids for prompt in (TARGET, OTHER)]
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


def control(name: str) -> Control:
    """One of a name, so set that it changes something."""
    return CONTROLS[name](**SETTING.get(name, {}))


SETTING: dict[str, dict[str, Any]] = {
    "local-blend": {"level": 0},
    "mask": {"mask": np.tile(np.array([0, 255], np.uint8), (4, 2))},
    "reweight": {"word": "ball", "weight": 3.0},
    "negative": {"prompt": OTHER},
}


@pytest.fixture(scope="module")
def shared(editor: Editor) -> Iterator[tuple[Engine, str]]:
    """An engine and the id of an inversion of two steps with corrections."""
    with Engine(editor) as engine:
        yield engine, invert(engine, steps=2, correct=True)


@pytest.mark.parametrize("name", CONTROLS)
def test_several_targets_of_a_control_are_those_of_the_editor(
    shared: tuple[Engine, str], editor: Editor, name: str
) -> None:
    (engine, id), controls = shared, (control(name),)
    prompts, source = [TARGET, "a green ball on the sand", "a small red ball"], engine.find(id).inversion
    assert not controls[0].idle
    assert source is not None
    for count in (2, 3):
        edited = engine.edit(id, Drawing(tuple(prompts[:count]), 2.0, controls=controls)).result()
        expected = editor.edit(source, prompts[:count], guidance=2.0, controls=controls).pictures
        assert all(same(*pair, 0) for pair in zip(edited.pictures, expected, strict=True))


def test_no_controls_are_not_the_default_ones(shared: tuple[Engine, str], editor: Editor) -> None:
    engine, id = shared
    choices: tuple[tuple[()] | Literal["auto"], ...] = ("auto", ())
    source, gate = engine.find(id).inversion, Gate(engine)
    assert source is not None
    tickets = [engine.edit(id, Drawing((TARGET,), controls=controls)) for controls in choices]
    gate.open()
    for ticket, controls in zip(tickets, choices, strict=True):
        assert same(
            ticket.result().pictures[0],
            editor.edit(source, TARGET, controls=controls).picture,
            0,
        )


def test_what_differs_is_not_drawn_together(engine: Engine) -> None:
    long, short = invert(engine), invert(engine, steps=2)
    different = [
        (long, Drawing((TARGET,))),
        (short, Drawing((TARGET,))),
        (long, Drawing((TARGET,), guidance=2.0)),
        (long, Drawing((TARGET,), size=(8, 8))),
        (long, Drawing((TARGET,), strength=0.5)),
        (long, Drawing((TARGET,), controls=("diffedit-mask",))),
    ]
    gate = Gate(engine)
    tickets = [engine.edit(id, drawing) for id, drawing in different]
    gate.open()
    assert [ticket.result().batch for ticket in tickets] == [1] * 6


def test_no_more_than_the_limit_are_drawn_together(editor: Editor) -> None:
    with Engine(editor, Limits(batch=4)) as engine:
        id, gate = invert(engine), Gate(engine)
        tickets = [engine.edit(id, Drawing((TARGET,) * count)) for count in (2, 1, 2, 3)]
        gate.open()
        assert [ticket.result().batch for ticket in tickets] == [3, 3, 2, 3]
        assert [len(ticket.result().pictures) for ticket in tickets] == [2, 1, 2, 3]


def test_one_bad_request_spoils_no_other(engine: Engine) -> None:
    id, gate = invert(engine), Gate(engine)
    tickets = [engine.edit(id, Drawing((prompt,))) for prompt in (TARGET, " ", OTHER)]
    gate.open()
    for ticket in (tickets[0], tickets[2]):
        assert ticket.result().pictures[0].size == (30, 20)
    with pytest.raises(ValueError, match="the prompt ' ' is empty"):
        tickets[1].result()


# --- turns ------------------------------------------------------------------------------------------------------


def test_sessions_take_turns(engine: Engine) -> None:
    gate, order = Gate(engine), list[str]()

    def told(name: str, _: Editor) -> None:
        order.append(name)

    tickets = [engine.do(partial(told, "many"), session="many") for _ in range(3)]
    tickets += [engine.do(partial(told, name), session=name) for name in ("b", "c")]
    gate.open()
    for ticket in tickets:
        ticket.result()
    assert order == ["many", "b", "c", "many", "many"]


def test_only_the_newest_request_of_a_session_is_done(engine: Engine) -> None:
    id = invert(engine)
    before, gate = engine.counts["calls"], Gate(engine)
    tickets = [engine.edit(id, Drawing((TARGET,)), session="tab", latest=True) for _ in range(5)]
    other = engine.edit(id, Drawing((OTHER,)), session="another", latest=True)
    for ticket in tickets[:-1]:
        with pytest.raises(Superseded):
            ticket.result()  # at once: the gate is still shut
    gate.open()
    assert (tickets[-1].result().batch, other.result().batch) == (2, 2)
    assert engine.counts["calls"] - before == 4
    assert engine.counts["superseded"] == 4


def test_a_stale_result_is_not_given_out(engine: Engine) -> None:
    first = engine.do(lambda _: "old", session="tab", latest=True)
    engine.do(lambda _: None).result()  # the first is done, and nobody has asked for it yet
    newer = engine.do(lambda _: "new", session="tab", latest=True)
    with pytest.raises(Superseded):
        first.result()
    assert newer.result() == "new"


def test_cancelled_work_stops_before_its_next_network_call(engine: Engine) -> None:
    reached, go_on = threading.Event(), threading.Event()
    before = engine.counts["calls"]

    def work(editor: Editor) -> None:
        reached.set()
        assert go_on.wait(30)
        editor.generate(TARGET, steps=4)

    ticket = engine.do(work)
    assert reached.wait(30)
    ticket.cancel()
    with pytest.raises(Cancelled):
        ticket.result()
    go_on.set()
    engine.do(lambda _: None).result()
    assert engine.counts["calls"] == before
    assert engine.counts["stopped"] == 1


def test_work_goes_on_for_those_who_still_wait(engine: Engine) -> None:
    id, gate = invert(engine), Gate(engine)
    gone, there = (engine.edit(id, Drawing((TARGET,)), session=name) for name in "ab")
    gate.open()
    while not gone.calls:
        time.sleep(0.0001)  # both are drawn now, in the same network calls
    gone.cancel()
    assert there.result().batch == 2
    assert there.result().cost.nfe == 4
    with pytest.raises(Cancelled):
        gone.result()


def test_what_is_late_is_told_so_and_not_begun(engine: Engine) -> None:
    gate, begun = Gate(engine), list[Editor]()
    ticket = engine.do(begun.append, seconds=0.05)
    with pytest.raises(Late, match=r"not done within 0\.05 s: ask for less, or allow more time"):
        ticket.result()
    gate.open()
    engine.do(lambda _: None).result()
    assert not begun


def test_a_full_queue_says_when_to_come_again(editor: Editor) -> None:
    with Engine(editor, Limits(queue=2)) as engine:
        gate = Gate(engine)
        waiting = [engine.do(lambda _: 1) for _ in range(2)]
        with pytest.raises(Full, match="2 requests wait already: try again in") as refused:
            engine.do(lambda _: 1)
        assert refused.value.retry_after >= 1
        waiting[0].cancel()
        waiting[0] = engine.do(lambda _: 1)  # who gave up has made room
        gate.open()
        assert [ticket.result() for ticket in waiting] == [1, 1]


def test_closing_finishes_what_was_taken_on_and_takes_no_more(editor: Editor) -> None:
    engine = Engine(editor)
    done = list[Editor]()
    tickets = [engine.do(done.append) for _ in range(5)]
    assert engine.close()
    assert len(done) == len([ticket.result() for ticket in tickets]) == 5
    with pytest.raises(Closed):
        engine.do(lambda _: 1)


def test_closing_stops_what_is_not_done_in_time(editor: Editor) -> None:
    engine = Engine(editor)

    def endless(editor: Editor) -> None:
        while True:
            editor.generate(TARGET, steps=1)

    tickets = [engine.do(endless), engine.do(lambda _: None)]
    assert not engine.close(0.1)
    for ticket in tickets:
        with pytest.raises(Closed):
            ticket.result()


def test_work_that_breaks_breaks_nothing_else(engine: Engine) -> None:
    def broken(_: Editor) -> None:
        raise ZeroDivisionError("oh")

    with pytest.raises(ZeroDivisionError):
        engine.do(broken).result()
    assert engine.do(lambda _: 1).result() == 1


# --- what is kept -----------------------------------------------------------------------------------------------


def test_an_inversion_belongs_to_its_owner(engine: Engine) -> None:
    id = engine.invert(picture(), SOURCE, SETTINGS, owner="me").result().id
    assert engine.find(id, "me").about.prompt == SOURCE
    with pytest.raises(Missing):
        engine.find(id, "you")
    with pytest.raises(Missing):
        engine.edit(id, Drawing((TARGET,)), owner="you").result()
    assert not engine.store.delete(id, "you")
    assert engine.store.delete(id, "me")
    with pytest.raises(Missing):
        engine.find(id, "me")
    assert engine.store.bytes == 0


def test_what_had_to_go_is_made_again(editor: Editor) -> None:
    with Engine(editor) as engine:
        drawing = Drawing((TARGET,))
        kept = engine.find(invert(engine))
        expected = engine.edit(kept.about.id, drawing).result().pictures[0]
        limit = kept.bytes + kept.encoded.latents.nbytes
    with Engine(editor, Limits(bytes=limit)) as engine:
        ids = [invert(engine, seed) for seed in range(2)]
        assert [engine.find(id).inversion is None for id in ids] == [True, False]
        first = engine.edit(ids[0], drawing).result()
        assert first.again
        assert first.cost.timings.invert > 0
        assert same(first.pictures[0], expected, 0)
        assert [engine.find(id).inversion is None for id in ids] == [False, True]
        assert not engine.edit(ids[0], drawing).result().again
        assert engine.store.bytes <= limit


def test_many_threads_get_their_own(editor: Editor) -> None:
    """Each of three threads, with its own picture, gets its own edits, while the inversions do not fit together."""
    with Engine(editor) as engine:
        size = engine.find(invert(engine)).bytes
    with Engine(editor, Limits(bytes=2 * size)) as engine:
        wrong = list[str]()

        def client(n: int) -> None:
            id = invert(engine, n)
            source = editor.invert(picture(n), SOURCE, steps=4, iterations=1)
            for prompt in (TARGET, OTHER):
                ticket = engine.edit(id, Drawing((prompt,)), session=str(n))
                if not same(ticket.result().pictures[0], editor.edit(source, prompt).picture):
                    wrong.append(f"{n}: {prompt}")

        threads = [threading.Thread(target=client, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert engine.store.bytes <= 2 * size


def test_time_is_not_spent_waiting(engine: Engine) -> None:
    gate = Gate(engine)
    ticket = engine.invert(picture(), SOURCE, SETTINGS)
    time.sleep(0.05)
    gate.open()
    assert ticket.result().cost.waited >= 0.05
