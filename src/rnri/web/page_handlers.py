"""Handlers of the page's requests: JSON in, JSON out, all work done by the engine.

An answer is an object: the result, `{"error": line}` for a request that is refused, `{"stale": true}` for one that a
newer request superseded, or `{"missing": true}` for an inversion that is no longer stored: the page then sends the
image again. Each tab has a random token; it is the owner of the tab's inversions and the session that takes turns.
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
from typing import Annotated, Any, Literal, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError
from rnri_core.errors import RnriError
from rnri_core.inversion.inversion import Inversion
from rnri_core.registry import spell
from rnri_core.solvers.solve import Status
from torch import Tensor

from rnri import images
from rnri.editing.config import EditConfig
from rnri.images import Picture
from rnri.scenes.reader import Reader
from rnri.web import page_facts
from rnri.web.batch import ending
from rnri.web.engine import EditOutput, EditTask, Engine, ImageFile, Missing
from rnri.web.page_code import Recipe
from rnri.web.page_pictures import as_url, from_url, live_size, live_url, masked, to_url
from rnri.web.problems import MAX_LINE, field_problems, summary
from rnri.web.results import InversionReport
from rnri.web.schemas import MAX_CONTROLS, ControlSpec, InversionFields, InverterSpec
from rnri.web.store import StoredInversion
from rnri.web.tickets import Cancelled, Stopped, Superseded, Ticket

Answer: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[[Any], Coroutine[Any, Any, Answer]]

MAX_TARGETS, MAX_FIELDS, MAX_PROMPT, MAX_BYTES = 8, 32, 2000, 24 * 2**20
FAULT = "The server failed at this: try other controls or settings, and start it again if that does not help."
_NAME = 120  # characters of a file's name
_AT_ONCE = 2
_TURNS = 4  # of the engine that an answer takes, at most

_LOG = logging.getLogger(__name__)


def _spec(value: Any) -> str:
    """The spec of an inverter or a control: its name, and the fields that are set."""
    name, fields = (value.get("name"), value.get("fields") or {}) if isinstance(value, Mapping) else (None, {})
    if not isinstance(name, str) or not isinstance(fields, Mapping) or len(fields) > MAX_FIELDS:
        raise RnriError(f"{_short(value)} has no name, or no fields", hint="see 'rnri solvers' and 'rnri controls'")
    for field, each in fields.items():
        if not field.isidentifier() or not isinstance(each, (bool, int, float, str)) or len(str(each)) > MAX_PROMPT:
            raise RnriError(
                f"{_short(field)}={_short(each)} is no field", hint="see 'rnri solvers' and 'rnri controls'"
            )
    return spell(name, fields)


def _prompt(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_PROMPT or not value.strip():
        raise RnriError(f"a prompt has 1 to {MAX_PROMPT} characters")
    return value.strip()


def _targets(value: Any) -> list[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_TARGETS:
        raise RnriError(f"give 1 to {MAX_TARGETS} targets, each a line of its own")
    return [_prompt(each) for each in value]


class TabRequest(BaseModel):
    """A request of a browser tab."""

    token: str = Field(min_length=16, max_length=64)


class TabInversion(TabRequest, InversionFields):
    """An image to invert; without a prompt a scene is captioned."""

    picture: str
    prompt: Annotated[str, Field(max_length=MAX_PROMPT)] = ""
    inverter: Annotated[InverterSpec, BeforeValidator(_spec)] = "auto"


class TabEdit(TabRequest):
    """An edit of an inversion, of which code names the image `name`."""

    id: str
    prompts: Annotated[list[str], BeforeValidator(_targets)]
    strength: float = Field(gt=0, le=1, strict=True)
    guidance: float = Field(ge=0, le=100, strict=True)
    controls: Annotated[
        list[Annotated[ControlSpec, BeforeValidator(_spec)]] | None,
        Field(max_length=MAX_CONTROLS),
        BeforeValidator(lambda controls: None if controls == "auto" else controls),
    ] = None
    name: Annotated[str, AfterValidator(lambda name: Path(name[-_NAME:]).name or "picture.png")] = "picture.png"


class TabDownload(TabEdit):
    """A file: the edited image in full size, a sheet of all images, or the inversion."""

    kind: Literal["image", "sheet", "inversion"]
    picture: str = ""
    mask: str = ""


_Request = TypeVar("_Request", bound=TabRequest)


@dataclass(frozen=True)
class PageHandlers:
    """Answers the page's requests with an engine; see the module's text for the answers."""

    engine: Engine

    def handlers(self) -> tuple[Handler, ...]:
        """The handlers by name of their function; none raises for a request of a user."""
        return (
            _handler(TabRequest, self.hello),
            _handler(TabInversion, self.invert),
            _handler(TabRequest, self.progress),
            _handler(TabEdit, self.edit),
            _handler(TabEdit, self.several),
            _handler(TabDownload, self.download),
        )

    async def hello(self, _: TabRequest) -> Answer:
        """All that the page needs at its start."""
        patience = _TURNS * self.engine.limits.seconds
        return await asyncio.to_thread(page_facts.hello, self.engine.editor, MAX_BYTES, patience)

    async def invert(self, request: TabInversion) -> Answer:
        """Invert an image; `ask` in the answer requests a prompt for an image that cannot be captioned."""
        token, prompt, file = request.token, request.prompt.strip(), _file(request.picture, "picture")
        if not prompt and not page_facts.draws_scenes(self.engine.editor):
            return {"ask": True}
        config = request.inversion_config()
        if config.steps == self.engine.editor.model.defaults.steps:
            config = replace(config, steps=None)
        ticket = self.engine.invert(
            file, prompt or self._reader.describe, config, owner=token, session=token, latest=True
        )
        self._inverting[token] = ticket
        report = await ticket.answer()
        inversion = self.engine.find(report.id, token).inversion
        solutions = reversed(inversion.solutions) if inversion else ()
        return report.model_dump(mode="json") | {
            "meaning": Status[report.quality.status].value,
            "residuals": [
                [value if math.isfinite(value) else None for value in each.residuals[:, 0].tolist()]
                for each in solutions
            ],
            "ideas": page_facts.ideas(report.prompt),
        }

    async def progress(self, request: TabRequest) -> Answer:
        """How many network calls the tab's inversion has taken so far, if one is under way."""
        ticket = self._inverting.get(request.token)
        return {"calls": ticket.calls if ticket else 0}

    async def edit(self, request: TabEdit) -> Answer:
        """One edited image, at the size of the screen, and the code that reproduces it."""
        output = await self._output(request, self._task(request), "", latest=True)
        recipe = self._recipe(request)
        code = {"plain": recipe.python(), "masked": recipe.python(masked=True)}
        return _frames(output) | {"command": recipe.command(), "python": code}

    async def several(self, request: TabEdit) -> Answer:
        """An edited image for each of several prompts, in one batch, beside the edit that is typed."""
        return _frames(await self._output(request, self._task(request), " several", latest=True))

    async def download(self, request: TabDownload) -> Answer:
        """A file: the edited image in full size, a sheet of all images, or the inversion."""
        async with self._room:
            recipe = self._recipe(request)
            if request.kind == "inversion":
                name, data = f"{Path(recipe.name).stem}.safetensors", await self._inversion_file(request)
            elif request.kind == "image":
                name, data = recipe.output, await asyncio.to_thread(as_url, (await self._edited(request))[0])
            else:
                name, data = f"{Path(recipe.name).stem}-sheet.png", await self._sheet(request)
        return {"name": name, "data": data}

    async def _inversion_file(self, request: TabDownload) -> str:
        """The file of the inversion at the strength of the edit."""
        await self._output(request, replace(self._task(request), prompts=(request.prompts[0],)))
        inversion = self._stored(request).inversion
        if inversion is None:  # evicted since it was edited
            raise Missing("the inversion has to be made again")
        data = await asyncio.to_thread(_saved, ending(inversion, request.strength))
        return to_url(data, "application/octet-stream")

    async def _edited(self, request: TabDownload) -> tuple[Picture, ...]:
        """The edited images, inside the mask where there is one."""
        task = self._task(request)
        if request.kind == "image":
            task = replace(task, prompts=task.prompts[:1], size=None)
        pictures = (await self._output(request, task)).pictures
        if not request.mask:
            return pictures
        original, mask = await self._pixels(request, "picture"), await self._pixels(request, "mask")
        return await asyncio.to_thread(lambda: tuple(masked(picture, original, mask) for picture in pictures))

    async def _sheet(self, request: TabDownload) -> str:
        """Original, reconstruction and edits side by side."""
        pictures, original = await self._edited(request), await self._pixels(request, "picture")
        stored = self._stored(request)
        guidance = stored.config.guidance
        if guidance is None:
            guidance = self.engine.editor.model.guidance_threshold
        task = replace(self._task(request), prompts=(stored.report.prompt,), config=EditConfig(guidance), strength=1.0)
        (reconstruction,) = (await self._output(request, task)).pictures
        return await asyncio.to_thread(
            lambda: as_url(_sheet(original, stored.report, reconstruction, request.prompts, pictures))
        )

    async def _output(
        self, request: TabEdit, task: EditTask, queue: str = " download", *, latest: bool = False
    ) -> EditOutput:
        session = request.token + queue
        return await self.engine.edit(request.id, task, owner=request.token, session=session, latest=latest).answer()

    async def _pixels(self, request: TabDownload, name: Literal["picture", "mask"]) -> Tensor:
        """An image of the request, decoded."""
        file = _file(getattr(request, name), name)
        return await self.engine.decode(file, session=f"{request.token} download").answer()

    @cached_property
    def _reader(self) -> Reader:
        return Reader.load()

    @cached_property
    def _inverting(self) -> WeakValueDictionary[str, Ticket[InversionReport]]:
        return WeakValueDictionary()

    @cached_property
    def _room(self) -> asyncio.Semaphore:
        """Limits how many images in full size are in memory at once."""
        return asyncio.Semaphore(_AT_ONCE)

    def _stored(self, request: TabEdit) -> StoredInversion:
        return self.engine.find(request.id, request.token)

    def _task(self, request: TabEdit) -> EditTask:
        """The edit at the size of the screen."""
        report = self._stored(request).report
        size = live_size((report.width, report.height), max(self.engine.editor.model.image_size))
        config = EditConfig(request.guidance, controls=_controls(request))
        return EditTask(tuple(request.prompts), config, size, request.strength)

    def _recipe(self, request: TabEdit) -> Recipe:
        stored = self._stored(request)
        return Recipe(
            self.engine.editor.model.name,
            request.name,
            stored.report.prompt,
            request.prompts[0],
            replace(stored.config, strength=request.strength),
            request.guidance,
            _controls(request),
        )


def _handler(schema: type[_Request], act: Callable[[_Request], Coroutine[Any, Any, Answer]]) -> Handler:
    """A handler of JSON, whose answer has the error of a request that is refused; a fault of ours is logged."""

    async def handle(body: Any) -> Answer:
        try:
            return await act(schema.model_validate(body))
        except (Superseded, Cancelled):
            return {"stale": True}
        except Missing:
            return {"missing": True}
        except ValidationError as error:
            return {"error": f"{summary(field_problems(error))}."}
        except (Stopped, ValueError) as error:
            return {"error": f"{' '.join(str(error).split())[:MAX_LINE]}."}
        except Exception:
            _LOG.exception("a fault in answering %s", act.__name__)
            return {"error": FAULT}

    handle.__name__ = act.__name__
    return handle


def _controls(request: TabEdit) -> tuple[str, ...] | Literal["auto"]:
    return "auto" if request.controls is None else tuple(request.controls)


def _file(url: str, name: str) -> ImageFile:
    """An image that was uploaded as a data URL; the name of a file, or another address, is refused."""
    return ImageFile(from_url(url, what=name), f"the {name}")


def _short(value: object) -> str:
    """A value as errors show it."""
    return reprlib.repr(value)


def _frames(output: EditOutput) -> Answer:
    return {"pictures": [live_url(picture) for picture in output.pictures], "cost": output.cost.model_dump()}


def _saved(inversion: Inversion) -> bytes:
    """The bytes of the file that `Inversion.save` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inversion.safetensors")
        inversion.save(path)
        return path.read_bytes()


def _sheet(
    original: Tensor, report: InversionReport, again: Picture, prompts: list[str], pictures: tuple[Picture, ...]
) -> Picture:
    """Original, reconstruction and edits side by side."""
    quality = report.quality
    known = quality.psnr_db is not None and quality.bound_db is not None
    accuracy = f"{quality.psnr_db:.1f} dB of the autoencoder's {quality.bound_db:.1f} dB" if known else ""
    first = [(images.to_pil(original)[0], f"original\n{report.prompt}"), (again, f"reconstruction\n{accuracy}")]
    return images.sheet([*first, *((each, f"edit\n{text}") for each, text in zip(pictures, prompts, strict=True))])
