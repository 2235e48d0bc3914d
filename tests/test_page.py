"""The live page in a real browser: what a user does, and what is then to be seen."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the page needs the extra ui: pip install 'rnri[ui]'")

from rnri_core.inversion.inversion import Inversion

from rnri.evaluation.page import PATIENCE
from rnri.examples import DEMO, EDITS
from rnri.scenes.captions import caption
from rnri.scenes.render import render
from tests.browser import Server, browsing, outside

SOURCE, TARGET = caption(DEMO), EDITS["colour"].target_prompt
DRAWN = "p => performance.getEntriesByName('rnri:frame').some(e => e.detail.prompt === p)"
FRAMES = "() => performance.getEntriesByName('rnri:frame').length"
COMMAND = "part => document.querySelector('[data-at=command]').textContent.includes(part)"
REMEMBERED = (
    "p => [...document.querySelectorAll('.rn-history .rn-tile')].at(-1)?.matches(`[aria-current=true][title='${p}']`)"
)
AFTER = "() => document.querySelector('.rn-after').toDataURL()"
PIXELS = """([x, y, w, h]) => {
    const c = document.querySelector('.rn-after'), [W, H] = [c.width, c.height];
    return [...c.getContext('2d').getImageData(x * W, y * H, Math.max(1, w * W), Math.max(1, h * H)).data];
}"""

BEFORE = """([x, y]) => {
    const before = document.querySelector('[data-at=before]'), {width, height} = document.querySelector('.rn-after');
    const pen = new OffscreenCanvas(width, height).getContext('2d');
    pen.imageSmoothingQuality = 'high';
    pen.drawImage(before, 0, 0, width, height);
    return [...pen.getImageData(x * width, y * height, 1, 1).data];
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as browser:
        yield browser


def visit(browser: Any, server: Server) -> Any:
    """A tab of its own with the page in it."""
    tab = browser.new_page(viewport={"width": 1280, "height": 860})
    tab.set_default_timeout(PATIENCE)
    tab.requests, tab.errors = [], []
    tab.on("request", lambda request: tab.requests.append(request.url))
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.goto(server.address)
    tab.wait_for_selector(".rn[data-ready=yes]")
    return tab


@pytest.fixture(scope="module")
def shared(browser: Any, server: Server) -> Any:
    return visit(browser, server)


@pytest.fixture
def tab(shared: Any) -> Iterator[Any]:
    """The page with the first example inverted and drawn; nothing may come from outside, and no script may fail."""
    begin(shared)
    yield shared
    assert outside(shared.requests) == []
    assert shared.errors == []


def begin(tab: Any) -> None:
    if tab.locator("[data-at=another]").is_visible():
        tab.click("[data-at=another]")
    tab.evaluate("performance.clearMeasures()")
    tab.click(".rn-example-row .rn-tile >> nth=0")
    tab.wait_for_function(DRAWN, arg=SOURCE)


def draw(tab: Any, prompt: str) -> None:
    tab.fill("#rn-target", prompt)
    tab.wait_for_function(DRAWN, arg=prompt)


def test_the_picture_follows_the_words(tab: Any) -> None:
    before = tab.evaluate(AFTER)
    tab.fill("#rn-target", "")
    tab.locator("#rn-target").press_sequentially(TARGET, delay=10)
    tab.wait_for_function(DRAWN, arg=TARGET)
    assert tab.evaluate(AFTER) != before
    assert tab.locator(".rn-changed").all_inner_texts() == ["blue"]
    assert tab.evaluate(FRAMES) < 10  # not one for each key


def test_words_that_are_not_known_are_marked(tab: Any) -> None:
    tab.fill("#rn-target", SOURCE.replace("cylinder", "zebra"))
    assert tab.locator(".rn-unknown").all_inner_texts() == ["zebra"]
    assert tab.inner_text("[data-at=words]") == "Not in the model's vocabulary: zebra"


def test_the_inversion_says_how_good_it_is(tab: Any) -> None:
    assert "dB" in tab.inner_text(".rn-verdict")
    assert "network calls" in tab.inner_text(".rn-quality")
    assert tab.inner_text(".rn-status") == "fixed budget"
    assert tab.inner_text(".rn-inverter").startswith("barzilai-borwein")
    assert tab.locator(".rn-plot .rn-dot").count() == 4  # an iteration at each step
    cost = tab.inner_text("[data-at=cost]")
    assert all(stage in cost for stage in ("encode", "invert 8 NFE", "edit 4 NFE", "decode", "ms"))


def test_only_what_is_painted_changes(tab: Any) -> None:
    inside, elsewhere = [0.2, 0.5, 0, 0], [0.8, 0.5, 0, 0]
    start = {str(place): tab.evaluate(PIXELS, place) for place in (inside, elsewhere)}
    draw(tab, "a large blue metal ball on the left, on snow, at night")
    edited = {str(place): tab.evaluate(PIXELS, place) for place in (inside, elsewhere)}
    original = tab.evaluate(BEFORE, elsewhere)
    tab.click("[data-at=paint]")
    box = tab.locator("[data-at=mask]").bounding_box()
    spot = [box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"]]
    tab.mouse.move(*spot)
    tab.mouse.down()
    tab.mouse.move(spot[0] + 4, spot[1] + 4, steps=3)
    tab.mouse.up()
    assert tab.evaluate(PIXELS, inside) == edited[str(inside)] != start[str(inside)]
    assert tab.evaluate(PIXELS, elsewhere) == original != edited[str(elsewhere)]
    assert "mask.png" in tab.text_content("[data-at=python]")
    tab.click("[data-at=clear]")
    assert tab.evaluate(PIXELS, elsewhere) == edited[str(elsewhere)]
    tab.click("[data-at=paint]")


def test_it_draws_while_the_strength_is_dragged(tab: Any) -> None:
    draw(tab, TARGET)
    full, frames = tab.evaluate(AFTER), tab.evaluate(FRAMES)
    box = tab.locator("[data-at=strength]").bounding_box()
    height = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] - 8, height)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 2, height, steps=8)
    tab.wait_for_function(f"n => ({FRAMES})() > n", arg=frames)  # the button is still down
    tab.mouse.move(box["x"] + 4, height, steps=8)
    tab.mouse.up()
    assert tab.inner_text("[data-at=strengthout]") == "1 of 4 steps"
    tab.wait_for_function("() => performance.getEntriesByName('rnri:frame').at(-1).detail.nfe === 1")
    assert tab.evaluate(AFTER) != full
    tab.fill("[data-at=strength]", "1")


def test_back_and_onward(tab: Any) -> None:
    tab.wait_for_function(REMEMBERED, arg=SOURCE)  # a picture is remembered once it has stood for a while
    first = tab.evaluate(AFTER)
    draw(tab, TARGET)
    tab.wait_for_function(REMEMBERED, arg=TARGET)
    edited = tab.evaluate(AFTER)
    tab.click("[data-at=undo]")
    tab.wait_for_function(f"was => ({AFTER})() === was", arg=first)
    assert tab.input_value("#rn-target") == SOURCE
    tab.locator(".rn-history .rn-tile").last.click()
    tab.wait_for_function(f"was => ({AFTER})() === was", arg=edited)
    tab.evaluate("performance.clearMeasures()")
    tab.click("[data-at=onward]")
    tab.wait_for_function(DRAWN, arg=TARGET)
    assert tab.input_value("#rn-source") == TARGET


def test_settings_are_those_of_the_inverter(tab: Any) -> None:
    tab.locator("summary", has_text="Settings").click()
    tab.select_option("[name=inverter]", "anderson")
    assert tab.locator("[name='inverter.memory']").get_attribute("type") == "number"
    tab.evaluate("performance.clearMeasures()")
    tab.fill("[name=iterations]", "1")
    tab.press("[name=iterations]", "Enter")
    tab.wait_for_function("() => document.querySelectorAll('.rn-plot .rn-dot').length === 4")
    tab.wait_for_function(DRAWN, arg=SOURCE)
    tab.wait_for_function(COMMAND, arg="--inverter anderson --iterations 1")
    tab.select_option("[name=inverter]", "gnri")
    tab.fill("[name=iterations]", "2")
    tab.locator("summary", has_text="Settings").click()


def test_several_targets_and_files(tab: Any, tmp_path: Path) -> None:
    tab.locator("summary", has_text="Several").click()
    tab.fill("#rn-several", "\n".join(edit.target_prompt for edit in EDITS.values()))
    tab.click("[data-at=runseveral]")
    tab.wait_for_function("() => document.querySelectorAll('.rn-grid .rn-tile').length === 3")
    tab.locator("summary", has_text="Export").click()
    for kind, suffix in (("image", ".png"), ("sheet", ".png"), ("inversion", ".safetensors")):
        with tab.expect_download() as download:
            tab.click(f"[data-file={kind}]")
        download.value.save_as(tmp_path / f"{kind}{suffix}")
    with Image.open(tmp_path / "image.png") as image, Image.open(tmp_path / "sheet.png") as sheet:
        assert image.size == (128, 128)
        assert sheet.width > 3 * 256 < sheet.height  # two rows
    assert Inversion.load(tmp_path / "inversion.safetensors").prompt == SOURCE


def test_a_dropped_picture_is_described(tab: Any) -> None:
    file = io.BytesIO()
    Image.fromarray(render(DEMO)).save(file, "PNG")
    tab.evaluate(
        "bytes => { const files = new DataTransfer(), all = new Uint8Array(bytes);"
        "files.items.add(new File([all], 'mine.png', { type: 'image/png' }));"
        "document.querySelector('.rn').dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true })); }",
        list(file.getvalue()),
    )
    tab.wait_for_function(COMMAND, arg="mine.png")  # set once it is edited; until then the prompt is the previous one
    described = tab.input_value("#rn-source")
    assert ", " in described
    tab.wait_for_function(DRAWN, arg=described)


def test_a_file_that_is_no_picture_is_refused(tab: Any) -> None:
    tab.set_input_files("[data-at=file]", {"name": "mine.txt", "mimeType": "text/plain", "buffer": b"text"})
    tab.wait_for_function("() => document.querySelector('[data-at=banner]').textContent.startsWith('mine.txt is not')")


def test_the_camera_takes_a_picture(tab: Any) -> None:
    tab.click("[data-at=another]")
    tab.click("[data-at=camera]")
    tab.evaluate("performance.clearMeasures()")
    tab.click("[data-at=snap]")
    tab.wait_for_function(FRAMES)
    assert "camera.png" in tab.text_content("[data-at=command]")


def test_keys_a_phone_and_the_dark(tab: Any) -> None:
    tab.focus("[data-at=split]")
    for _ in range(3):
        tab.keyboard.press("ArrowRight")
    assert tab.evaluate("getComputedStyle(document.querySelector('.rn-after')).clipPath") == "inset(0px 0px 0px 3%)"
    light = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.click("[data-at=theme]")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != light
    tab.click("[data-at=theme]")
    tab.set_viewport_size({"width": 360, "height": 740})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    tab.set_viewport_size({"width": 1280, "height": 860})


def test_it_answers_only_to_its_own_names(server: Server) -> None:
    with urllib.request.urlopen(server.address) as answer:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
    asked = urllib.request.Request(server.address, headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        urllib.request.urlopen(asked)
    refused.value.close()


def test_two_tabs_at_once(browser: Any, server: Server) -> None:
    tab, other = visit(browser, server), visit(browser, server)
    begin(tab)
    begin(other)
    tab.fill("#rn-target", TARGET)
    other.fill("#rn-target", EDITS["light"].target_prompt)
    tab.wait_for_function(DRAWN, arg=TARGET)
    other.wait_for_function(DRAWN, arg=EDITS["light"].target_prompt)
    here, there = tab.evaluate(AFTER), other.evaluate(AFTER)
    assert here != there
    draw(other, TARGET)
    mine, same = (np.array(each.evaluate(PIXELS, [0, 0, 1, 1]), np.int16) for each in (tab, other))
    assert np.abs(mine - same).max() <= 2  # drawn alone, and beside another
    tab.close()
    other.close()


def test_it_comes_back_when_the_server_does(tab: Any, server: Server) -> None:
    assert server.stop() == 0
    tab.fill("#rn-target", TARGET)
    tab.wait_for_selector(".rn[data-link=off]")
    assert "connection is lost" in tab.inner_text("[data-at=banner]")
    server.start()
    tab.wait_for_function(DRAWN, arg=TARGET)  # the picture was sent and inverted again, and the prompt was kept
    tab.wait_for_selector(".rn[data-link=on]")
    assert not tab.locator("[data-at=banner]").is_visible()
