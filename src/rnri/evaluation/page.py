"""Latency of the live page in a browser: seconds from the last key to the picture."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar, cast

from rnri_core.errors import RnriError
from rnri_core.sampling.steps import Denoiser
from torch import Tensor

from rnri.editing.editor import Editor
from rnri.evaluation.machine import Environment
from rnri.evaluation.records import to_json
from rnri.examples import DEMO, EDITS
from rnri.models import Condition, Model
from rnri.scenes.captions import caption

PAUSE = 0.15
"""Seconds without a key after which the page draws."""
PATIENCE = 120_000  # milliseconds a browser waits for one thing
_Value = TypeVar("_Value")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ALONE = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_LAST = "() => { const all = performance.getEntriesByName('rnri:frame'); return all.at(-1)?.detail.prompt; }"
_TOOK = "() => performance.getEntriesByName('rnri:frame').at(-1).duration"


@dataclass(frozen=True)
class Latency:
    """Seconds from the last key to the picture, of each edit, and how many of them the networks took.

    The page waits `PAUSE` of them for more keys.
    """

    seconds: tuple[float, ...]
    networks: tuple[float, ...]
    steps: int
    where: Environment

    @property
    def median(self) -> float:
        """Of the seconds, the pause included."""
        return statistics.median(self.seconds)

    @property
    def share(self) -> float:
        """The median share of the time after the pause that is not spent in networks."""
        pairs = zip(self.seconds, self.networks, strict=True)
        return statistics.median(1 - networks / (seconds - PAUSE) for seconds, networks in pairs)

    def to_json(self) -> str:
        """All of it, as one JSON object."""
        return to_json(asdict(self) | {"pause": PAUSE, "median": self.median, "share_not_networks": self.share})


@dataclass
class _Timed:
    """A model that adds up the seconds its networks take."""

    inner: Model
    spent: float = field(default=0.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def denoiser(self, condition: Condition, guidance: float = 1.0) -> Denoiser:
        network = self.inner.denoiser(condition, guidance)
        return lambda z, t: self._timed(lambda: network(z, t))

    def embed(self, prompts: Sequence[str]) -> Condition:
        return self._timed(lambda: self.inner.embed(prompts))

    def unconditional(self, negative: str | None, count: int) -> Condition:
        return self._timed(lambda: self.inner.unconditional(negative, count))

    def decode(self, latent: Tensor) -> Tensor:
        return self._timed(lambda: self.inner.decode(latent))

    def _timed(self, call: Callable[[], _Value]) -> _Value:
        start = time.perf_counter()
        try:
            return call()
        finally:
            self.spent += time.perf_counter() - start


@contextlib.contextmanager
def chromium(*more: str) -> Iterator[Any]:
    """An installed Chromium to drive; RnriError names what is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise RnriError("driving a browser needs playwright", hint="pip install playwright") from None
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, _NAMES)), None)
        if path is None and not os.path.exists(playwright.chromium.executable_path):
            raise RnriError("there is no Chromium", hint="apt-get install chromium, or playwright install chromium")
        launched = playwright.chromium.launch(executable_path=path, args=[*_ALONE, *more])
        with contextlib.closing(launched) as browser:
            yield browser


def latency(
    model: Model, edits: int, *, viewport: tuple[int, int] = (1280, 860), progress: Callable[[int, int], None]
) -> Latency:
    """Type into the page of a model of scenes, a prompt at a time, and time each picture.

    Args:
        model: one that draws scenes.
        edits: number of prompts, after a first one.
        viewport: (width, height) of the browser in pixels.
        progress: called after each picture.

    Raises:
        RnriError: where there is no browser, or the model draws no scenes.
    """
    from rnri.web import page
    from rnri.web.access import LOCAL_NAMES, Access
    from rnri.web.engine import Engine
    from rnri.web.page_facts import draws_scenes
    from rnri.web.serving import Address, Server, background

    page.leave_a_core(model.device)
    editor, timed = Editor(model), _Timed(model)
    if not draws_scenes(editor):
        raise RnriError(f"{model.name} draws no scenes", hint="measure an embedded model")
    seconds, networks = [], []
    targets = [caption(DEMO), *(edit.target_prompt for edit in EDITS.values())]
    with (
        chromium() as browser,
        Engine(Editor(cast(Model, timed))) as engine,
        background(Server(page.app(engine, Access(hosts=LOCAL_NAMES)), engine, Address(port=0))) as address,
    ):
        tab = browser.new_page(viewport={"width": viewport[0], "height": viewport[1]})
        tab.set_default_timeout(PATIENCE)
        tab.goto(address)
        tab.click(".rn-example-row .rn-tile >> nth=0")
        tab.wait_for_function(f"() => ({_LAST})() !== undefined")
        for n in range(edits + 1):
            prompt = targets[(n + 1) % len(targets)]
            before = timed.spent
            tab.fill("#rn-target", prompt)
            tab.wait_for_function(f"prompt => ({_LAST})() === prompt", arg=prompt)
            if n:  # the first is to warm up
                seconds.append(tab.evaluate(_TOOK) / 1000)
                networks.append(timed.spent - before)
            progress(n, edits)
    return Latency(tuple(seconds), tuple(networks), model.defaults.steps, Environment.of(model.device))
