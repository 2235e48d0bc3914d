"""Turns, deadlines and the store of an engine: sessions take turns, the newest request wins, memory is bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from rnri.editing.editor import Editor
from rnri.web.engine import EditTask, Engine, Limits, Missing
from rnri.web.tickets import Cancelled, Closed, Full, Late, Superseded
from tests import tiny
from tests.engines import CONFIG, OTHER, SOURCE, TARGET, Gate, invert, picture, same


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor.from_pipe(tiny.pipeline())


@pytest.fixture
def engine(editor: Editor) -> Iterator[Engine]:
    with Engine(editor) as engine:
        yield engine


# --- turns ------------------------------------------------------------------------------------------------------


def test_sessions_take_turns(engine: Engine) -> None:
    gate, order = Gate(engine), list[str]()

    def record(name: str, _: Editor) -> None:
        order.append(name)

    tickets = [engine.do(partial(record, "many"), session="many") for _ in range(3)]
    tickets += [engine.do(partial(record, name), session=name) for name in ("b", "c")]
    gate.open()
    for ticket in tickets:
        ticket.result()
    assert order == ["many", "b", "c", "many", "many"]


def test_only_the_newest_request_of_a_session_is_done(engine: Engine) -> None:
    id = invert(engine)
    before, gate = engine.counts["calls"], Gate(engine)
    tickets = [engine.edit(id, EditTask((TARGET,)), session="tab", latest=True) for _ in range(5)]
    other = engine.edit(id, EditTask((OTHER,)), session="another", latest=True)
    for ticket in tickets[:-1]:
        with pytest.raises(Superseded):
            ticket.result()  # at once: the gate is still shut
    gate.open()
    assert (tickets[-1].result().batch, other.result().batch) == (2, 2)
    assert engine.counts["calls"] - before == 4
    assert engine.counts["superseded"] == 4


def test_a_stale_result_is_not_given_out(engine: Engine) -> None:
    first = engine.do(lambda _: "old", session="tab", latest=True)
    engine.do(lambda _: None).result()  # the first is done, and nobody has taken its result yet
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
    gone, there = (engine.edit(id, EditTask((TARGET,)), session=name) for name in "ab")
    gate.open()
    while not gone.calls:
        time.sleep(0.0001)  # both are drawn now, in the same network calls
    gone.cancel()
    assert there.result().batch == 2
    assert there.result().cost.nfe == 4
    with pytest.raises(Cancelled):
        gone.result()


def test_late_work_is_refused_and_not_begun(engine: Engine) -> None:
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


# --- the store ----------------------------------------------------------------------------------------------------


def test_an_inversion_belongs_to_its_owner(engine: Engine) -> None:
    id = engine.invert(picture(), SOURCE, CONFIG, owner="me").result().id
    assert engine.find(id, "me").report.prompt == SOURCE
    with pytest.raises(Missing):
        engine.find(id, "you")
    with pytest.raises(Missing):
        engine.edit(id, EditTask((TARGET,)), owner="you").result()
    assert not engine.store.delete(id, "you")
    assert engine.store.delete(id, "me")
    with pytest.raises(Missing):
        engine.find(id, "me")
    assert engine.store.bytes == 0


def test_what_had_to_go_is_made_again(editor: Editor) -> None:
    with Engine(editor) as engine:
        drawing = EditTask((TARGET,))
        kept = engine.find(invert(engine))
        expected = engine.edit(kept.report.id, drawing).result().pictures[0]
        limit = kept.bytes + kept.encoded.latents.nbytes
    with Engine(editor, Limits(bytes=limit)) as engine:
        ids = [invert(engine, seed) for seed in range(2)]
        assert [engine.find(id).inversion is None for id in ids] == [True, False]
        first = engine.edit(ids[0], drawing).result()
        assert first.recomputed
        assert first.cost.seconds.invert > 0
        assert same(first.pictures[0], expected, 0)
        assert [engine.find(id).inversion is None for id in ids] == [False, True]
        assert not engine.edit(ids[0], drawing).result().recomputed
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
                ticket = engine.edit(id, EditTask((prompt,)), session=str(n))
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
    ticket = engine.invert(picture(), SOURCE, CONFIG)
    time.sleep(0.05)
    gate.open()
    assert ticket.result().cost.seconds.wait >= 0.05
