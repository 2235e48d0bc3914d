"""A server under load on this computer: latency, gain of batching, and whether answers are right."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from rnri import images
from rnri.editing.editor import Editor
from rnri.evaluation.machine import Environment, resident_memory
from rnri.evaluation.records import to_json
from rnri.scenes.captions import caption
from rnri.scenes.edits import random_edit
from rnri.scenes.render import render
from rnri.web.access import LOCAL_NAMES, Access
from rnri.web.api import Options, create_app
from rnri.web.client import Client, Frame
from rnri.web.engine import Engine, Limits
from rnri.web.serving import Address, Server, background

Progress = Callable[[str], None]

LEVELS = 2
"""Largest difference, of 255, of a right answer from the same edit done alone: batches round in another order."""


@dataclass(frozen=True)
class Question:
    """An edit that clients ask for, and the right answer, (1, 3, H, W)."""

    picture: bytes
    source: str
    prompt: str
    guidance: float
    answer: torch.Tensor


@dataclass(frozen=True)
class LoadRow:
    """One number of clients with one kind of server. Latencies are seconds of whole requests; memory is MiB at the end.

    ``batch`` is how many edits shared network calls on average, ``worst`` the largest difference in levels of 255.
    """

    clients: int
    batching: bool
    requests: int
    seconds: float
    throughput: float
    p50: float
    p95: float
    p99: float
    batch: float
    calls: int
    wrong: int
    worst: int
    resident: float | None


@dataclass(frozen=True)
class ServeReport:
    """The rows, hardware and versions, and the fingerprint of the model."""

    rows: tuple[LoadRow, ...]
    environment: Environment
    model: str

    @property
    def gains(self) -> dict[int, float]:
        """Throughput with batching over that without, where both were measured."""
        by = {(row.clients, row.batching): row.throughput for row in self.rows}
        counts = sorted({row.clients for row in self.rows})
        return {n: by[n, True] / by[n, False] for n in counts if {(n, True), (n, False)} <= by.keys()}

    @property
    def wrong(self) -> int:
        """Answers that were not those of the same edit done alone."""
        return sum(row.wrong for row in self.rows)

    def to_json(self) -> str:
        """All of it, as one JSON object."""
        report, about = asdict(self), asdict(self.environment) | {"model": self.model}
        return to_json({"rows": report["rows"], "gains": self.gains, "wrong": self.wrong, "about": about})


def measure(
    editor: Editor,
    *,
    clients: Sequence[int] = (1, 2, 4, 8),
    requests: int = 8,
    pictures: int = 4,
    seed: int = 0,
    progress: Progress = lambda message: None,
) -> ServeReport:
    """Send a server on a free port the requests of several clients, ``requests`` each, without a pause.

    Their order is random but repeatable: edits of a kept inversion, with and without guidance, and now and then an
    image to be inverted and edited in one request. Every answer is compared with the same edit done alone.
    """
    progress("making every edit alone")
    questions = _questions(editor, pictures, seed)
    rows = []
    for batching in (True, False):
        limits = Limits(batch=Limits().batch if batching else 1, queue=1000, seconds=600)
        with Engine(editor, limits) as engine:
            app = create_app(engine, Options(Access(hosts=LOCAL_NAMES)))
            with background(Server(app, engine, Address(port=0))) as url:
                for count in clients:
                    progress(f"{count} clients, {'with' if batching else 'without'} batching")
                    rows.append(_load(url, engine, questions, count, requests, seed))
    return ServeReport(tuple(rows), Environment.of(editor.model.device), editor.model.fingerprint)


def _questions(editor: Editor, pictures: int, seed: int) -> list[Question]:
    """Edits of some pictures, with their answers, made one by one without a server."""
    questions, draw = list[Question](), np.random.default_rng(seed)
    for edit in (random_edit(draw) for _ in range(pictures)):
        picture = images.encode(render(edit.source))
        source = editor.invert(images.decode(picture), caption(edit.source))
        for guidance in (1.0, 2.0):
            for prompt in (edit.target_prompt, caption(edit.source)):
                answer = images.read(editor.edit(source, prompt, guidance=guidance).picture)
                questions.append(Question(picture, source.prompt, prompt, guidance, answer))
    return questions


def _load(url: str, engine: Engine, questions: list[Question], clients: int, requests: int, seed: int) -> LoadRow:
    kept, batches, seconds, worst = dict[bytes, str](), list[int](), list[float](), list[int]()
    with Client(url, seconds=600) as client:
        for question in questions:
            if question.picture not in kept:
                kept[question.picture] = client.invert(question.picture, question.source).id
        calls, barrier = engine.counts["calls"], threading.Barrier(clients + 1)
        failures = list[Exception]()

        def ask(number: int) -> None:
            draw = random.Random(f"{seed} {clients} {number}")
            barrier.wait()
            try:
                for _ in range(requests):
                    question = draw.choice(questions)
                    began = time.perf_counter()
                    frame = _ask(client, question, kept[question.picture], whole=draw.random() < 0.1)
                    seconds.append(time.perf_counter() - began)
                    batches.append(frame.batch)
                    worst.append(_difference(frame, question))
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        barrier.wait()
        began = time.perf_counter()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
        if failures:
            raise failures[0]
        for id in kept.values():
            client.delete(id)
    p50, p95, p99 = np.quantile(seconds, (0.5, 0.95, 0.99), method="inverted_cdf").tolist()
    return LoadRow(
        clients=clients,
        batching=engine.limits.batch > 1,
        requests=len(seconds),
        seconds=took,
        throughput=len(seconds) / took,
        p50=p50,
        p95=p95,
        p99=p99,
        batch=sum(batches) / len(batches),
        calls=engine.counts["calls"] - calls,
        wrong=sum(difference > LEVELS for difference in worst),
        worst=max(worst),
        resident=resident_memory(),
    )


def _ask(client: Client, question: Question, id: str, *, whole: bool) -> Frame:
    settings = {"guidance": question.guidance}
    if whole:
        return client.invert_and_edit(question.picture, question.source, question.prompt, settings)
    return client.edit(id, question.prompt, settings)


def _difference(frame: Frame, question: Question) -> int:
    """The largest difference to the right answer, in levels of 255."""
    got = images.decode(frame.image)
    return round(((got - question.answer).abs().max() * 127.5).item()) if got.shape == question.answer.shape else 255
