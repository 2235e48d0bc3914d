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
Values = Mapping[str, str | int | float | bool | list[str]]
"""Fields of a request by name, as the API has them."""


class Refused(Exception):
    """A request that the server refused: its HTTP `status`, and the cure as text."""

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True)
class InversionInfo:
    """An inversion that the server stores; PSNR in dB, None if it is not finite.

    `inverter` is the spec of the inverter that ran, `answer` all that the server answered.
    """

    id: str
    psnr_db: float | None
    bound_db: float | None
    status: str
    inverter: str
    answer: Mapping[str, Any]


@dataclass(frozen=True)
class Frame:
    """An edited image as a file's bytes, the id of its inversion, and its cost."""

    image: bytes
    inversion: str
    nfe: int
    batch: int
    remarks: tuple[str, ...]


class Client:
    """A connection to a server, which many threads may share. Use it as a context, or `close` it.

    It repeats a request that a busy server refuses (503), at most `retries` times, after the `Retry-After` of the
    answer. Raises `Refused`, and httpx.TransportError where no server answers.
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

    def invert(self, image: bytes, prompt: str, settings: Values | None = None) -> InversionInfo:
        """Invert an image file; `settings` are more fields of POST /v1/inversions, such as {"steps": 4}."""
        fields = {"prompt": prompt, **(settings or {})}
        return _info(self._request("POST", "/v1/inversions", data=fields, files={"image": image}))

    def edit(self, id: str, prompt: str, settings: Values | None = None, *, format: Format = "png") -> Frame:
        """Edit an inversion with a target prompt; `settings` are more fields, such as {"guidance": 2.0}."""
        body = {"prompt": prompt, **(settings or {})}
        return _frame(self._request("POST", f"/v1/inversions/{id}/edits", json=body, headers=_accept(format)))

    def invert_and_edit(
        self, image: bytes, source: str, prompt: str, settings: Values | None = None, *, format: Format = "png"
    ) -> Frame:
        """Invert and edit in one request; the inversion is stored."""
        fields = {"source": source, "prompt": prompt, **(settings or {})}
        return _frame(self._request("POST", "/v1/edits", data=fields, files={"image": image}, headers=_accept(format)))

    def inversion(self, id: str) -> InversionInfo:
        """Status, accuracy and cost of an inversion."""
        return _info(self._request("GET", f"/v1/inversions/{id}"))

    def delete(self, id: str) -> None:
        """Delete an inversion."""
        self._request("DELETE", f"/v1/inversions/{id}")

    def models(self) -> list[dict[str, Any]]:
        """The models, the one that is served first."""
        return list(self._request("GET", "/v1/models").json())

    def solvers(self) -> list[dict[str, Any]]:
        """The solvers and wrappers, with their options."""
        return list(self._request("GET", "/v1/solvers").json())

    @contextmanager
    def live(self, id: str, *, format: Format = "jpeg") -> Iterator[Live]:
        """A connection on which each prompt takes the place of one that is not yet answered."""
        from websockets.sync.client import connect

        url = self._url.replace("http", "ws", 1) + "/v1/live"
        with connect(url, additional_headers=self._headers, max_size=2**26, proxy=None) as socket:
            yield Live(socket, id, format)

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        for left in range(self._retries, -1, -1):
            response = self._http.request(method, path, **request)
            if response.is_success:
                return response
            refused = _refused(response)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or not left:
                break
            time.sleep(refused.retry_after or 1.0)
        raise refused


class Live:
    """Prompts in, frames out. A prompt that is sent before the frame of the previous one replaces it."""

    def __init__(self, socket: Any, id: str, format: Format) -> None:
        self._socket, self._id, self._format, self._sequence = socket, id, format, 0

    def send(self, prompt: str, settings: Values | None = None) -> int:
        """Request a frame; returns its number."""
        self._sequence += 1
        message = {"inversion": self._id, "format": self._format, "sequence": self._sequence, "prompt": prompt}
        self._socket.send(json.dumps(message | dict(settings or {})))
        return self._sequence

    def receive(self) -> tuple[int, Frame]:
        """The next frame and its number, which is larger than any before; waits for it. Raises `Refused`."""
        about = json.loads(self._socket.recv())
        if "problem" in about:
            raise Refused(about["problem"]["status"], about["problem"]["detail"])
        image = self._socket.recv()
        return about["sequence"], Frame(
            image, about["inversion"], about["nfe"], about["batch"], tuple(about["remarks"])
        )


def _accept(format: Format) -> dict[str, str]:
    return {"Accept": f"image/{format}"}


def _info(response: httpx.Response) -> InversionInfo:
    answer = response.json()
    quality = answer["quality"]
    return InversionInfo(
        answer["id"], quality["psnr_db"], quality["bound_db"], quality["status"], answer["inverter"], answer
    )


def _frame(response: httpx.Response) -> Frame:
    headers = response.headers
    remarks = tuple(json.loads(headers["RNRI-Remarks"]))
    return Frame(
        response.content, headers["RNRI-Inversion"], int(headers["RNRI-NFE"]), int(headers["RNRI-Batch"]), remarks
    )


def _refused(response: httpx.Response) -> Refused:
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the server answered {response.status_code}"
    after = response.headers.get("Retry-After", "")
    return Refused(response.status_code, detail, float(after) if after.isdigit() else None)
