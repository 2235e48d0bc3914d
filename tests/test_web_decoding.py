"""Pictures of requests: decoded elsewhere, to the same bits, within limits that hold whatever a file does."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image, ImageCms
from rnri_core.inversion.config import InversionConfig

from rnri import images, raster
from rnri.editing.editor import Editor
from rnri.web.api import create_app
from rnri.web.client import Client, Refused
from rnri.web.decoder import ANSWER, REQUEST
from rnri.web.decoding import Decoder, Dropped
from rnri.web.engine import EditTask, Engine, ImageFile, Limits
from rnri.web.serving import Address, Server, background
from rnri.web.tickets import Closed, Late, Ticket
from tests import tiny
from tests.served import FAST, SOURCE, TARGET, picture, served, until

PIXELS, SECONDS = 4_000_000, 1
LINE = "the image takes more than 1 s to decode: save it again as a plain PNG or JPEG"


def endless(scans: int = 40_000) -> bytes:
    """A progressive JPEG of 4 MP whose last scan is repeated: some hundred kilobytes, and minutes to decode."""
    file = io.BytesIO()
    Image.new("L", (2000, 2000), 128).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:last] + data[last:end] * scans + data[end:]


ENDLESS = endless()


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(PIXELS, SECONDS)
    yield decoder
    decoder.close()


def written(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def files() -> dict[str, bytes]:
    """A file of every kind of picture that is read in its own way."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 31, 4), dtype=np.uint8)
    plain, exif = Image.fromarray(noise[..., :3]), Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"?XYZ").replace(b"gXYZ", b"rXYZ").replace(b"?XYZ", b"gXYZ")
    renamed = swapped.replace("sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be"))
    deep = Image.fromarray((noise[..., 0].astype(np.uint16) << 8) + 7)
    return {
        "png": written(plain, "PNG"),
        "jpeg": written(plain, "JPEG"),
        "progressive": written(plain, "JPEG", progressive=True),
        "cmyk": written(plain.convert("CMYK"), "JPEG"),
        "turned": written(plain, "JPEG", exif=exif),
        "profile": written(plain, "PNG", icc_profile=renamed),
        "broken profile": written(plain, "PNG", icc_profile=b"none"),
        "transparent": written(Image.fromarray(noise), "PNG"),
        "palette": written(plain.convert("P"), "PNG", transparency=3),
        "grey": written(plain.convert("L"), "PNG"),
        "bits": written(plain.convert("1"), "PNG"),
        "deep": written(deep, "PNG"),
        "webp": written(Image.fromarray(noise), "WEBP"),
        "animation": written(plain, "WEBP", save_all=True, append_images=[Image.fromarray(noise[..., 1:])]),
    }


FILES = files()


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_this_process(decoder: Decoder, name: str) -> None:
    array = decoder.decode(FILES[name])
    here = raster.decode(io.BytesIO(FILES[name]), "the image")
    assert (array.dtype, array.shape) == (here.dtype, here.shape)
    assert array.tobytes() == here.tobytes()
    assert images.read(array).equal(images.decode(FILES[name]))


@pytest.mark.parametrize("data", [b"", b"GIF89a", FILES["png"][:200], written(Image.new("1", (4001, 1000)), "PNG")])
def test_refusals_are_those_of_this_process(decoder: Decoder, data: bytes) -> None:
    with pytest.raises(ValueError, match="the mask ") as there:
        decoder.decode(data, "the mask")
    with pytest.raises(ValueError, match="the mask ") as here:
        raster.decode(io.BytesIO(data), "the mask", PIXELS)
    assert str(there.value) == str(here.value)


def test_what_takes_too_long_is_refused_and_the_next_is_decoded(decoder: Decoder) -> None:
    assert len(ENDLESS) < 2_000_000
    began = time.monotonic()
    with pytest.raises(ValueError, match=LINE):
        decoder.decode(ENDLESS)
    assert time.monotonic() - began < 30
    assert decoder.decode(FILES["png"]).shape == (24, 31, 3)


def test_what_nobody_waits_for_is_dropped(decoder: Decoder) -> None:
    with pytest.raises(Dropped):
        decoder.decode(ENDLESS, stopped=lambda: True)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count what a process reserves")
def test_what_takes_too_much_memory_is_refused() -> None:
    """A picture for which the process has no room; with a limit of its own, since pixels are bounded before."""
    code = "import rnri.web.decoder as d; d.main(4_000_000, 9, 4_000_000)"
    request = written(Image.new("RGB", (2000, 2000)), "PNG")
    request_bytes = REQUEST.pack(5, len(request)) + b"image" + request
    output = subprocess.run([sys.executable, "-c", code], input=request_bytes, capture_output=True, check=True).stdout
    assert b"image takes more than 3 MiB to decode: scale it down" in output[ANSWER.size :]


def test_a_process_knows_nothing_of_torch() -> None:
    code = "import sys, rnri.web.decoder; print(sorted({'torch', 'diffusers', 'starlette'} & set(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"


def test_others_are_served_while_a_picture_takes_too_long() -> None:
    """Over HTTP: a deadline holds, edits and other people's pictures are served, and the refusal is one line."""
    limits = Limits(pixels=PIXELS, decoding=SECONDS)
    with served(limits) as (url, engine), Client(url, retries=0) as client:
        kept = client.invert(picture(), SOURCE, FAST)
        answers = list[tuple[int, str]]()

        def ask() -> None:
            with pytest.raises(Refused) as refused:
                client.invert(ENDLESS, SOURCE, FAST)
            answers.append((refused.value.status, str(refused.value)))

        asking = threading.Thread(target=ask)
        asking.start()
        until(lambda: engine.counts["accepted"] == 2)
        assert client.edit(kept.id, TARGET).nfe == 2
        assert engine.invert(picture(), SOURCE, InversionConfig(steps=2, iterations=1), session="another").result().id
        assert not answers
        asking.join()
        assert answers == [(422, LINE)]
        answer = httpx.post(
            f"{url}/v1/inversions?timeout=0.2",
            data={"prompt": SOURCE},
            files={"image": ENDLESS},
            trust_env=False,
            timeout=60,
        )
        assert (answer.status_code, "not done within 0.2 s" in answer.json()["detail"]) == (504, True)


def test_a_session_has_one_file_decoded_at_a_time() -> None:
    with Engine(Editor.from_pipe(tiny.pipeline()), Limits(pixels=PIXELS, decoding=60)) as engine:
        slow = [engine.decode(ImageFile(ENDLESS), session="one") for _ in range(3)]
        assert engine.decode(ImageFile(picture()), session="other").result().shape == (1, 3, 20, 30)
        for ticket in slow:
            ticket.cancel()
        assert engine.decode(ImageFile(picture()), session="one").result().shape == (1, 3, 20, 30)


def test_closing_kills_what_is_decoded() -> None:
    engine = Engine(Editor.from_pipe(tiny.pipeline()), Limits(pixels=PIXELS, decoding=60))
    tickets: list[Ticket[Any]] = [engine.decode(ImageFile(ENDLESS), session=name) for name in "ab"]
    tickets.append(engine.invert(ENDLESS, SOURCE))
    began = time.monotonic()
    assert not engine.close(0.5)
    assert time.monotonic() - began < 10
    for ticket in tickets:
        with pytest.raises(Closed):
            ticket.result()


# --- what no call of the network interrupts -----------------------------------------------------------------------


def test_closing_does_not_wait_for_what_nothing_interrupts() -> None:
    """The second call neither, which is that of the context."""
    engine, go = Engine(Editor.from_pipe(tiny.pipeline())), threading.Event()
    began = time.monotonic()
    with engine:
        ticket = engine.do(lambda _: go.wait(100))
        assert not engine.close(0.2)
    assert time.monotonic() - began < 10
    assert engine.alive
    with pytest.raises(Closed):
        ticket.result()
    go.set()


def test_a_server_does_not_wait_for_what_nothing_interrupts() -> None:
    go = threading.Event()
    with Engine(Editor.from_pipe(tiny.pipeline())) as engine:
        with background(Server(create_app(engine), engine, Address(port=0), grace=0.2)):
            engine.do(lambda _: go.wait(100))
            began = time.monotonic()
        assert time.monotonic() - began < 20
        go.set()


def test_a_server_that_does_not_start_is_an_error() -> None:
    @asynccontextmanager
    async def broken(_: FastAPI) -> AsyncIterator[None]:
        raise ZeroDivisionError
        yield

    with Engine(Editor.from_pipe(tiny.pipeline())) as engine:
        server = Server(FastAPI(lifespan=broken), engine, Address(port=0))
        with pytest.raises(RuntimeError, match="ended as it started"), background(server):
            pass


STUCK = """
import threading
from rnri.editor import Editor
from rnri.web.api import create_app
from rnri.web.engine import Engine
from rnri.web.serving import Address, Server, leave
from tests import tiny

with Engine(Editor.from_pipe(tiny.pipeline())) as engine:
    engine.do(lambda _: threading.Event().wait())
    Server(create_app(engine), engine, Address(port=0), grace=0.2).run(lambda: print("ready", flush=True))
print("stopped")
leave(engine)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM to be had")
def test_a_process_ends_within_its_grace() -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        try:
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
        assert (process.returncode, out) == (0, "stopped\n")


def test_an_engine_that_breaks_down_says_so_to_all() -> None:
    def broken(_: Editor) -> None:
        raise SystemExit

    with Engine(Editor.from_pipe(tiny.pipeline())) as engine:
        tickets = [engine.do(broken), engine.do(lambda _: None)]
        for ticket in tickets:
            with pytest.raises(Closed, match="the engine broke down: restart the server"):
                ticket.result()
        with pytest.raises(Closed, match="the engine broke down"):
            engine.edit("any", EditTask((TARGET,)))


def test_a_deadline_holds_while_a_picture_is_decoded() -> None:
    with Engine(Editor.from_pipe(tiny.pipeline()), Limits(pixels=PIXELS, decoding=60)) as engine:
        ticket = engine.invert(ENDLESS, SOURCE, seconds=0.2)
        with pytest.raises(Late):
            ticket.result()
        until(lambda: engine.counts["stopped"] == 1)  # the process is killed, and its place is free
