"""A client of `rnri serve` for Python programs; it needs httpx, and websockets for live edits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import httpx

Format = Literal["png", "jpeg", "webp"]
Values = Mapping[str, str | int | float | bool]
"""Fields of a request by name, as the API has them."""


class Refused(Exception):
    """The server said no: `status` is the HTTP status, the text says why and what to do."""

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True)
class Kept:
    """An inversion that the server keeps; PSNR in dB, None if it is not finite. `told` is all the server says of it."""

    id: str
    psnr_db: float | None
    bound_db: float | None
    status: str
    told: Mapping[str, Any]


@dataclass(frozen=True)
class Frame:
    """An edited image as a file's bytes, the inversion it is of, and what it cost."""

    image: bytes
    inversion: str
    nfe: int
    batch: int
    remarks: tuple[str, ...]


class Client:
    """Talks to a server; one may be used by many threads. Use it as a context, or `close` it.

    Where the server is busy it asks again, at most `retries` times, when the server says it should.
    Raises `Refused`, and httpx.TransportError where no server answers.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", *, key: str | None = None, seconds: float = 60.0, retries: int = 3
    ) -> None:
        self._url, self._retries = url.rstrip("/"), retries
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=self._url, headers=self._headers, timeout=seconds, trust_env=False)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def invert(self, image: bytes, prompt: str, settings: Values | None = None) -> Kept:
        """Invert an image file; `settings` are more fields of POST /v1/inversions, such as {"steps": 4}."""
        fields = {"prompt": prompt, **_form(settings)}
        return _kept(self._ask("POST", "/v1/inversions", data=fields, files={"image": image}).json())

    def edit(self, id: str, prompt: str, settings: Values | None = None, *, format: Format = "png") -> Frame:
        """Draw an inversion with another prompt; `settings` are more fields, such as {"guidance": 2.0}."""
        body = {"prompt": prompt, **(settings or {})}
        return _frame(self._ask("POST", f"/v1/inversions/{id}/edits", json=body, headers=_accept(format)))

    def invert_and_edit(
        self, image: bytes, source: str, prompt: str, settings: Values | None = None, *, format: Format = "png"
    ) -> Frame:
        """Both in one request; the inversion is kept."""
        fields = {"source": source, "prompt": prompt, **_form(settings)}
        answer = self._ask("POST", "/v1/edits", data=fields, files={"image": image}, headers=_accept(format))
        return _frame(answer)

    def inversion(self, id: str) -> Kept:
        """What the server knows of an inversion."""
        return _kept(self._ask("GET", f"/v1/inversions/{id}").json())

    def delete(self, id: str) -> None:
        """Have the server forget an inversion."""
        self._ask("DELETE", f"/v1/inversions/{id}")

    def models(self) -> list[dict[str, Any]]:
        """The models, the one that is served first."""
        return list(self._ask("GET", "/v1/models").json())

    def solvers(self) -> list[dict[str, Any]]:
        """The solvers and wrappers, with their options."""
        return list(self._ask("GET", "/v1/solvers").json())

    @contextmanager
    def live(self, id: str, *, format: Format = "jpeg") -> Iterator[Live]:
        """A connection on which each prompt takes the place of one that is not yet drawn."""
        from websockets.sync.client import connect

        url = self._url.replace("http", "ws", 1) + "/v1/live"
        with connect(url, additional_headers=self._headers, max_size=2**26, proxy=None) as socket:
            yield Live(socket, id, format)

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        for left in range(self._retries, -1, -1):
            answer = self._http.request(method, path, **request)
            if answer.is_success:
                return answer
            refused = _refused(answer)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or not left:
                break
            time.sleep(refused.retry_after or 1.0)
        raise refused


class Live:
    """Prompts in, frames out. What is sent before a frame has come replaces what was sent before."""

    def __init__(self, socket: Any, id: str, format: Format) -> None:
        self._socket, self._id, self._format, self._sent = socket, id, format, 0

    def send(self, prompt: str, settings: Values | None = None) -> int:
        """Ask for a frame, and get its number."""
        self._sent += 1
        message = {"inversion": self._id, "format": self._format, "sequence": self._sent, "prompt": prompt}
        self._socket.send(json.dumps(message | dict(settings or {})))
        return self._sent

    def receive(self) -> tuple[int, Frame]:
        """The next frame and its number, which is larger than any before; waits for it. Raises `Refused`."""
        told = json.loads(self._socket.recv())
        if "problem" in told:
            raise Refused(told["problem"]["status"], told["problem"]["detail"])
        image = self._socket.recv()
        return told["sequence"], Frame(image, told["inversion"], told["nfe"], told["batch"], tuple(told["remarks"]))


def _form(settings: Values | None) -> dict[str, str]:
    """Fields as a form has them."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in (settings or {}).items()
    }


def _accept(format: Format) -> dict[str, str]:
    return {"Accept": f"image/{format}"}


def _kept(told: dict[str, Any]) -> Kept:
    quality = told["quality"]
    return Kept(told["id"], quality["psnr_db"], quality["bound_db"], quality["status"], told)


def _frame(answer: httpx.Response) -> Frame:
    said = answer.headers
    remarks = tuple(json.loads(said["RNRI-Remarks"]))
    return Frame(answer.content, said["RNRI-Inversion"], int(said["RNRI-NFE"]), int(said["RNRI-Batch"]), remarks)


def _refused(answer: httpx.Response) -> Refused:
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the server answered {answer.status_code}"
    after = answer.headers.get("Retry-After", "")
    return Refused(answer.status_code, detail, float(after) if after.isdigit() else None)
