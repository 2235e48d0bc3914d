"""A Hugging Face Hub on this machine: one repository, `owner/name`, or an error in answer to every request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import huggingface_hub.constants
import pytest

REPOSITORY = "owner/name"
COMMIT = 40 * "0"


@dataclass
class Hub:
    """What is served: the files of a folder, or errors of this code; what was asked for; where downloads go."""

    cache: Path
    folder: Path | None = None
    code: str = "RepoNotFound"
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path."""
        self.asked.append(path)
        path = path.partition("?")[0]
        if self.folder is None:
            return 403 if self.code == "GatedRepo" else 404, {"X-Error-Code": self.code}, b""
        files = sorted(each.relative_to(self.folder).as_posix() for each in self.folder.rglob("*") if each.is_file())
        if path.startswith(f"/api/models/{REPOSITORY}"):
            sizes = {name: (self.folder / name).stat().st_size for name in files}
            tree = [{"type": "file", "oid": name, "size": size, "path": name} for name, size in sizes.items()]
            about = {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            return 200, {}, json.dumps(tree if "/tree/" in path else about).encode()
        name = path.removeprefix(f"/{REPOSITORY}/resolve/").partition("/")[2]
        if name not in files:
            return 404, {"X-Error-Code": "EntryNotFound" if REPOSITORY in path else "RepoNotFound"}, b""
        return 200, {"X-Repo-Commit": COMMIT, "ETag": name.replace("/", "-")}, (self.folder / name).read_bytes()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that `huggingface_hub` asks in place of the real one."""
    hub = Hub(tmp_path / "hub")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *arguments: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    address, constants = f"http://127.0.0.1:{server.server_address[1]}", huggingface_hub.constants
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub.cache))
    yield hub
    server.shutdown()
    server.server_close()
