"""The live page, timed in a real browser."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("gradio", reason="the page needs the extra ui: pip install 'rnri[ui]'")

from rnri import models
from rnri.evaluation.machine import Environment
from rnri.evaluation.page import PAUSE, Latency, latency

ON = Environment("now", "abacus", 1, "none", "3", {})
SLOWED = 0.02
"""Seconds that a call of the network is made to take at least."""


def test_the_last_key_is_some_way_from_the_picture() -> None:
    seen: list[tuple[int, int]] = []
    model = models.load("scenes-turbo", device="cpu")
    model.network.register_forward_hook(lambda *_: time.sleep(SLOWED))
    try:
        found = latency(model, 2, progress=lambda n, count: seen.append((n, count)))
    except ValueError as missing:
        pytest.skip(str(missing))
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert all(seconds > PAUSE + spent > PAUSE for seconds, spent in zip(found.seconds, found.networks, strict=True))
    assert min(found.networks) >= found.steps * SLOWED


def test_the_share_is_of_the_time_after_the_pause() -> None:
    found = Latency(tuple(PAUSE + seconds for seconds in (1.0, 2.0, 4.0)), (0.75, 1.0, 1.0), 4, ON)
    assert found.share == pytest.approx(0.5)
    assert found.median == PAUSE + 2.0
