"""What the page asks of the server: plain values in, plain values out, all work done by the engine.

An answer is an object: what was asked for, `{"error": line}` for what the user can mend, `{"stale": true}` for what a
newer request took the place of, or `{"missing": true}` for an inversion that is not there any more: the page then
sends the picture again. Each tab has a token of its own making, which nobody guesses; under it the engine keeps what
is the tab's, and by it the tab has its turn. The desk itself keeps nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import reprlib
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from rnri_core.errors import RnriError
from rnri_core.inversion.inversion import Inversion
from rnri_core.inversion.presets import check
from rnri_core.registry import spell
from rnri_core.solvers.solve import Status
from torch import Tensor

from rnri import images
from rnri.controls import control
from rnri.images import Picture
from rnri.scenes.reader import Reader
from rnri.web import page_facts
from rnri.web.batch import ending
from rnri.web.engine import Drawing, Edited, Engine, File, Missing
from rnri.web.page_code import Recipe
from rnri.web.page_pictures import as_url, from_url, live_size, live_url, masked, to_url
from rnri.web.store import Inverted, Kept, Settings
from rnri.web.tickets import Cancelled, Stopped, Superseded, Ticket

Asked: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = dict[str, Any]
Counter: TypeAlias = Callable[[Asked], Coroutine[Any, Any, Answer]]

MAX_TARGETS, MAX_CONTROLS, MAX_FIELDS, MAX_PROMPT, MAX_BYTES = 8, 8, 32, 2000, 24 * 2**20
FAULT = "The server failed at this: try other controls or settings, and start it again if that does not help."
_NAME = 120  # characters of a file's name
_LINE = 500  # characters of an error
_AT_ONCE = 2
_TURNS = 4  # of the engine that an answer takes, at most

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Desk:
    """Answers the page with an engine; see the module's text for what an answer is."""

    engine: Engine

    def counters(self) -> tuple[Counter, ...]:
        """Everything the page may ask for, each by the name of its function; none raises for what a user sends."""
        return tuple(map(_answering, (self.hello, self.invert, self.progress, self.draw, self.several, self.keep)))

    async def hello(self, asked: Asked) -> Answer:
        """What the page needs once."""
        patience = _TURNS * self.engine.limits.seconds
        return await asyncio.to_thread(page_facts.hello, self.engine.editor, MAX_BYTES, patience)

    async def invert(self, asked: Asked) -> Answer:
        """Invert a picture with its prompt; a scene without one is described, of any other `ask` asks for one."""
        token, prompt = _token(asked), _prompt(asked, "prompt", empty=True)
        settings, file = self._settings(asked), _file(asked, "picture")
        if not prompt and not page_facts.draws_scenes(self.engine.editor):
            return {"ask": True}
        ticket = self.engine.invert(
            file, prompt or self._reader.describe, settings, owner=token, session=token, latest=True
        )
        self._inverting[token] = ticket
        about = await ticket.answer()
        found = self.engine.find(about.id, token).inversion
        return _told(about, found) | {"ideas": page_facts.ideas(about.prompt)}

    async def progress(self, asked: Asked) -> Answer:
        """How many network calls the tab's inversion has taken so far, if one is under way."""
        ticket = self._inverting.get(_token(asked))
        return {"calls": ticket.calls if ticket else 0}

    async def draw(self, asked: Asked) -> Answer:
        """One picture of an inversion, at the size of the screen, and how to draw it again elsewhere."""
        token, (id, drawing) = _token(asked), self._drawing(asked)
        about = self.engine.find(id, token).about
        result = await self.engine.edit(id, drawing, owner=token, session=token, latest=True).answer()
        recipe = self._recipe(asked, about, drawing)
        code = {"plain": recipe.python(), "masked": recipe.python(masked=True)}
        return _drawn(result) | {"command": recipe.command(), "python": code}

    async def several(self, asked: Asked) -> Answer:
        """A picture of each of several prompts, drawn at once, beside what the tab is typing."""
        token, (id, drawing) = _token(asked), self._drawing(asked)
        ticket = self.engine.edit(id, drawing, owner=token, session=f"{token} several", latest=True)
        return _drawn(await ticket.answer())

    async def keep(self, asked: Asked) -> Answer:
        """A file to download: the picture in full size, a sheet of all pictures, or the inversion."""
        kind = asked.get("kind")
        if kind not in ("image", "sheet", "inversion"):
            raise RnriError(f"kind={_short(kind)} is not one of image, sheet, inversion", field="kind")
        token, (id, drawing) = _token(asked), self._drawing(asked, live=kind != "image")
        if kind != "sheet":
            drawing = replace(drawing, prompts=drawing.prompts[:1])
        async with self._room:
            return await self._kept(asked, kind, token, id, drawing)

    async def _kept(self, asked: Asked, kind: str, token: str, id: str, drawing: Drawing) -> Answer:
        """The file of that kind."""
        session = f"{token} keep"
        result = await self.engine.edit(id, drawing, owner=token, session=session).answer()
        kept = self.engine.find(id, token)
        recipe = self._recipe(asked, kept.about, drawing)
        if kind == "inversion":
            if kept.inversion is None:  # given up for others since it was drawn
                raise Missing("the inversion has to be made again")
            data = await asyncio.to_thread(_stored, ending(kept.inversion, drawing.strength))
            return {"name": f"{Path(recipe.name).stem}.safetensors", "data": to_url(data, "application/octet-stream")}
        files = {what: _file(asked, what) for what in ("picture", "mask") if asked.get(what)}
        if kind == "image" and "mask" not in files:
            return {"name": recipe.output, "data": await asyncio.to_thread(as_url, result.pictures[0])}
        given = {what: await self.engine.decode(file, session=session).answer() for what, file in files.items()}
        original, pictures = given["picture"], result.pictures
        if "mask" in given:
            pictures = await asyncio.to_thread(
                lambda: tuple(masked(picture, original, given["mask"]) for picture in pictures)
            )
        if kind == "image":
            return {"name": recipe.output, "data": await asyncio.to_thread(as_url, pictures[0])}
        guidance = kept.about.settings.guidance
        if guidance is None:
            guidance = self.engine.editor.model.guidance_threshold
        again = Drawing((kept.about.prompt,), guidance, size=drawing.size)
        drawn = await self.engine.edit(id, again, owner=token, session=session).answer()
        sheet = await asyncio.to_thread(_sheet, original, kept, drawn.pictures[0], drawing.prompts, pictures)
        return {"name": f"{Path(recipe.name).stem}-sheet.png", "data": await asyncio.to_thread(as_url, sheet)}

    @cached_property
    def _reader(self) -> Reader:
        return Reader.load()

    @cached_property
    def _inverting(self) -> WeakValueDictionary[str, Ticket[Inverted]]:
        return WeakValueDictionary()

    @cached_property
    def _room(self) -> asyncio.Semaphore:
        """Of pictures in full size, few are in memory at once."""
        return asyncio.Semaphore(_AT_ONCE)

    def _settings(self, asked: Asked) -> Settings:
        """How to invert; what is the model's own default is left to it."""
        values: dict[str, Any] = {}
        for label, option in page_facts.settings(self.engine.editor):
            value = asked.get(option.name, option.default)
            if value is None and option.default is None:
                continue
            try:
                option.check(value)
            except ValueError:
                raise RnriError(
                    f"{label} {_short(value)} is out of range", hint=f"{option.low:g} to {option.high:g}"
                ) from None
            values[option.name] = value
        if values["steps"] == self.engine.editor.model.defaults.steps:
            values["steps"] = None
        spec = _spec({"name": asked.get("solver", Settings.solver), "fields": asked.get("fields")})
        check(spec, plain=True)
        return Settings(solver=spec, **values)

    def _drawing(self, asked: Asked, *, live: bool = True) -> tuple[str, Drawing]:
        """The id of an inversion, and what is to be drawn of it."""
        prompts = asked.get("prompts")
        if not isinstance(prompts, list) or not 1 <= len(prompts) <= MAX_TARGETS:
            raise RnriError(f"give 1 to {MAX_TARGETS} targets, each a line of its own")
        texts = tuple(_prompt({"prompt": each}, "prompt") for each in prompts)
        id = asked.get("id")
        kept = self.engine.find(id if isinstance(id, str) else "", _token(asked))
        size = live_size(kept.about.size, max(self.engine.editor.model.image_size)) if live else None
        strength, guidance = _number(asked, "strength", 1.0), _number(asked, "guidance", 100.0)
        controls = asked.get("controls", "auto")
        if controls != "auto" and (not isinstance(controls, list) or len(controls) > MAX_CONTROLS):
            raise RnriError(
                f"controls={_short(controls)} is neither 'auto' nor a list of at most {MAX_CONTROLS} controls",
                hint="see 'rnri controls'",
                field="controls",
            )
        if controls != "auto":
            controls = tuple(control(_spec(each), plain=True) for each in controls)
        return kept.about.id, Drawing(texts, guidance, size=size, strength=strength, controls=controls)

    def _recipe(self, asked: Asked, about: Inverted, drawing: Drawing) -> Recipe:
        given = asked.get("name")
        name = Path(given[-_NAME:] if isinstance(given, str) else "").name or "picture.png"
        model, guidance = self.engine.editor.model, drawing.guidance
        return Recipe(
            model.name,
            name,
            about.prompt,
            drawing.prompts[0],
            about.settings,
            drawing.strength,
            model.defaults.edit_guidance if guidance is None else guidance,
            "auto" if drawing.controls == "auto" else tuple(map(_spec, asked["controls"])),
        )


def _answering(act: Counter) -> Counter:
    """The same, with what stops it in the answer; what is no fault of the request is logged."""

    async def answer(asked: Asked) -> Answer:
        try:
            return await act(asked if isinstance(asked, Mapping) else {})
        except (Superseded, Cancelled):
            return {"stale": True}
        except Missing:
            return {"missing": True}
        except Exception as error:
            if isinstance(error, (Stopped, ValueError)) or _refused(error):
                return {"error": f"{' '.join(str(error).split())[:_LINE]}."}
            _LOG.exception("a fault in answering %s", act.__name__)
            return {"error": FAULT}

    answer.__name__ = act.__name__
    return answer


def _refused(error: Exception) -> bool:
    """Whether it says that a model does not fit what is asked of it: a TypeError of this package, not of a library."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (
        isinstance(error, TypeError) and trace is not None and trace.tb_frame.f_globals["__name__"].startswith("rnri.")
    )


def _token(asked: Asked) -> str:
    token = asked.get("token")
    if not isinstance(token, str) or not 16 <= len(token) <= 64:
        raise RnriError("the page has no token", hint="load it again")
    return token


def _prompt(asked: Asked, name: str, *, empty: bool = False) -> str:
    text = asked.get(name)
    if not isinstance(text, str) or len(text) > MAX_PROMPT or not (empty or text.strip()):
        raise RnriError(f"a prompt has 1 to {MAX_PROMPT} characters")
    return text.strip()


def _file(asked: Asked, what: str) -> File:
    """A picture that was uploaded; no name of a file, nor an address, is one."""
    return File(from_url(asked.get(what), what=what), f"the {what}")


def _number(asked: Asked, name: str, high: float) -> float:
    value = asked.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= high:
        raise RnriError(f"{name}={_short(value)} is out of range", hint=f"give 0 to {high:g}")
    return float(value)


def _spec(asked: object) -> str:
    """The spec of a solver or a control: its name, and the fields it sets."""
    name, given = (asked.get("name"), asked.get("fields") or {}) if isinstance(asked, Mapping) else (None, {})
    if not isinstance(name, str) or not isinstance(given, Mapping) or len(given) > MAX_FIELDS:
        raise RnriError(f"{_short(asked)} has no name, or no fields", hint="see 'rnri solvers' and 'rnri controls'")
    for field, value in given.items():
        if not field.isidentifier() or not isinstance(value, (bool, int, float, str)) or len(str(value)) > MAX_PROMPT:
            raise RnriError(
                f"{_short(field)}={_short(value)} is no field", hint="see 'rnri solvers' and 'rnri controls'"
            )
    return spell(name, given)


def _short(value: object) -> str:
    """A value as errors show it."""
    return reprlib.repr(value)


def _told(about: Inverted, found: Inversion | None) -> Answer:
    """How an inversion went. A figure that is not finite is None."""
    quality, spent = about.quality, about.cost.timings
    solutions = reversed(found.solutions) if found else ()
    return {
        "id": about.id,
        "prompt": about.prompt,
        "steps": about.steps,
        "psnr": _finite(quality.psnr_db),
        "bound": _finite(quality.bound_db),
        "status": quality.status,
        "meaning": Status[quality.status].value,
        "residual": _finite(quality.residual),
        "residuals": [[_finite(value) for value in each.residuals[:, 0].tolist()] for each in solutions],
        "seconds": spent.encode + spent.invert,
        "calls": about.cost.nfe + 2 * (about.cost.njvp + about.cost.nvjp),
        "cost": {
            "encode": spent.encode,
            "invert": spent.invert,
            "nfe": about.cost.nfe,
            "njvp": about.cost.njvp,
            "nvjp": about.cost.nvjp,
        },
    }


def _drawn(result: Edited) -> Answer:
    spent = result.cost.timings
    cost = {"nfe": result.cost.nfe, "edit": spent.edit, "decode": spent.decode, "waited": result.cost.waited}
    return {"pictures": [live_url(picture) for picture in result.pictures], "cost": cost}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _stored(inversion: Inversion) -> bytes:
    """An inversion as the file that `Inversion.save` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inversion.safetensors")
        inversion.save(path)
        return path.read_bytes()


def _sheet(
    original: Tensor, kept: Kept, again: Picture, prompts: tuple[str, ...], pictures: tuple[Picture, ...]
) -> Picture:
    """Original, reconstruction and edits side by side."""
    about = kept.about
    quality = about.quality
    known = quality.psnr_db is not None and quality.bound_db is not None
    reached = f"{quality.psnr_db:.1f} dB of the autoencoder's {quality.bound_db:.1f} dB" if known else ""
    first = [(images.to_pil(original)[0], f"original\n{about.prompt}"), (again, f"reconstruction\n{reached}")]
    return images.sheet([*first, *((each, f"edit\n{text}") for each, text in zip(pictures, prompts, strict=True))])
