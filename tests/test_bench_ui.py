"""The live page, timed in a real browser."""

from __future__ import annotations

import pytest

pytest.importorskip("gradio", reason="the page needs the extra ui: pip install 'rnri[ui]'")

from rnri import models
from rnri.bench.ui import PAUSE, latency


def test_the_last_key_is_some_way_from_the_picture() -> None:
    seen: list[tuple[int, int]] = []
    try:
        found = latency(models.load("scenes-turbo", device="cpu"), 2, progress=lambda n, count: seen.append((n, count)))
    except ValueError as missing:
        pytest.skip(str(missing))
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert all(seconds > PAUSE + spent > PAUSE for seconds, spent in zip(found.seconds, found.networks, strict=True))
    assert 0 < found.share < 1
