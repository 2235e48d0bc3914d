"""Whatever fails behind the page is a line on it that says what to do, in a real browser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the page needs the extra ui: pip install 'rnri[ui]'")

from rnri.editing.editor import Editor
from rnri.evaluation.page import PATIENCE
from rnri.web import page
from rnri.web.access import LOCAL_NAMES, Access
from rnri.web.engine import Engine, Limits
from rnri.web.page_handlers import FAULT
from rnri.web.serving import Address, Server, background
from tests import tiny
from tests.browser import browsing
from tests.served import OTHER, SOURCE, TARGET, hold, picture

BANNER = "[data-at=banner]"
TILES = "n => document.querySelectorAll('.rn-grid .rn-tile').length === n"
DRAWN = "p => performance.getEntriesByName('rnri:frame').some(e => e.detail.prompt === p)"
BESIDE = ("diffedit-mask", "local-blend", "prompt-to-prompt", "masactrl", "plug-and-play")
"""Controls that need the source beside the targets, or look at it."""


@contextlib.contextmanager
def paged(limits: Limits) -> Iterator[tuple[str, Engine]]:
    """The page of a small model, where it is, and its engine."""
    with Engine(Editor.from_pipe(tiny.pipeline()), limits) as engine:
        server = Server(page.app(engine, Access(hosts=LOCAL_NAMES)), engine, Address(port=0), grace=2)
        with background(server) as url:
            yield url, engine


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Engine]]:
    with paged(Limits(seconds=20, pixels=1000)) as served:
        yield served


@pytest.fixture(scope="module")
def tab(browser: Any, served: tuple[str, Engine]) -> Any:
    """The page with a picture inverted and drawn."""
    tab = visit(browser, served[0])
    begin(tab)
    return tab


def visit(browser: Any, url: str) -> Any:
    tab = browser.new_page(viewport={"width": 1280, "height": 860})
    tab.set_default_timeout(PATIENCE)
    tab.goto(url)
    tab.wait_for_selector(".rn[data-ready=yes]")
    return tab


def upload(tab: Any, data: bytes) -> None:
    tab.set_input_files("[data-at=file]", {"name": "mine.png", "mimeType": "image/png", "buffer": data})


def begin(tab: Any) -> None:
    upload(tab, picture())
    says(tab, "Describe the picture")
    tab.fill("#rn-source", SOURCE)
    tab.press("#rn-source", "Enter")
    tab.wait_for_function(DRAWN, arg=SOURCE)


def says(tab: Any, line: str) -> None:
    """Wait until the page says so, where it is seen."""
    tab.locator(BANNER, has_text=line).wait_for(state="visible")


def several(tab: Any, *prompts: str) -> None:
    if not tab.locator("#rn-several").is_visible():
        tab.locator("summary", has_text="Several").click()
    tab.fill("#rn-several", "\n".join(prompts))
    tab.click("[data-at=runseveral]")


def test_several_targets_are_drawn_with_controls_that_look_at_the_source(tab: Any) -> None:
    tab.locator("summary", has_text="Controls").click()
    for count, name in enumerate(BESIDE, 2):
        tab.check(f"[name='{name}']")
        if name == "local-blend":  # the tiny network has no deeper level
            tab.fill("[name='local-blend.level']", "0")
        several(tab, *(f"{OTHER} {'on sand ' * n}" for n in range(count)))
        tab.wait_for_function(TILES, arg=count)
        tab.uncheck(f"[name='{name}']")
    assert not tab.locator(BANNER).is_visible()


def test_a_fault_of_the_network_is_a_line(tab: Any, served: tuple[str, Engine]) -> None:
    network: Any = served[1].editor.model
    whole, network.unet.conv_out = network.unet.conv_out, None
    try:
        several(tab, TARGET, OTHER)
        assert FAULT in tab.locator(".rn-grid .rn-refused").inner_text()
        says(tab, FAULT)
        tab.fill("#rn-target", TARGET)
        says(tab, FAULT)
    finally:
        network.unet.conv_out = whole
    tab.fill("#rn-target", OTHER)
    tab.wait_for_function(DRAWN, arg=OTHER)
    assert not tab.locator(BANNER).is_visible()


def test_a_refusal_of_http_is_a_line(tab: Any) -> None:
    tab.route("**/page/several", lambda route: route.continue_(post_data="{"))
    several(tab, TARGET)
    says(tab, "the request is no JSON: load the page again.")
    tab.unroute("**/page/several")


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (
            {"status": 502, "content_type": "text/html", "body": "Bad Gateway"},
            "A proxy answers 502 instead of the server. Trying again",
        ),
        (None, "The connection is lost. Trying again"),
    ],
)
def test_what_does_not_reach_the_server_is_a_line_and_asked_again(tab: Any, broken: Any, line: str) -> None:
    tab.route("**/page/several", lambda route: route.fulfill(**broken) if broken else route.abort())
    several(tab, *[TARGET] * (3 if broken else 4))
    says(tab, line)
    tab.unroute("**/page/several")
    tab.wait_for_function(TILES, arg=3 if broken else 4)
    assert not tab.locator(BANNER).is_visible()


def test_a_picture_that_is_too_large_is_a_line(browser: Any, served: tuple[str, Engine]) -> None:
    other = visit(browser, served[0])
    upload(other, picture(height=40, width=40))
    other.fill("#rn-source", SOURCE)
    other.press("#rn-source", "Enter")
    says(other, "the picture has 40×40 pixels, over 1,000: scale it down first.")
    other.close()


def test_a_silent_server_and_a_deadline_are_lines(browser: Any) -> None:
    with paged(Limits(seconds=1)) as (url, engine):
        tab = visit(browser, url)
        tab.route("**/page/invert", lambda route: None)
        upload(tab, picture())
        says(tab, "The server has not answered for 4 s. Trying again")
        go = hold(engine)
        tab.unroute("**/page/invert")
        tab.fill("#rn-source", SOURCE)
        tab.press("#rn-source", "Enter")
        says(tab, "not done within 1 s: ask for less, or allow more time.")
        go.set()
        tab.close()


def test_an_engine_that_breaks_down_is_a_line(browser: Any) -> None:
    def broken(_: Editor) -> None:
        raise SystemExit("nothing catches this")

    with paged(Limits(seconds=20)) as (url, engine):
        tab = visit(browser, url)
        begin(tab)
        engine.do(broken)
        tab.fill("#rn-target", TARGET)
        says(tab, "the engine broke down: restart the server.")
        tab.close()


def test_a_script_that_fails_is_a_line(tab: Any) -> None:
    tab.evaluate("() => { Promise.reject(new Error('of its own')); }")
    says(tab, "The page failed: of its own. Load it again.")
