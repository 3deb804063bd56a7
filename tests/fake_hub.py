"""A Hugging Face Hub on the loopback interface, as far as downloading a model needs one, with faults on demand."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

COMMIT, NEWER = "c0ffee" + "0" * 34, "decade" + "0" * 34


@dataclass
class Fault:
    """What goes wrong with one file: the transfer ends after `cut` bytes, for the first `times` requests; `body` is
    served instead of the content; `size` is announced instead of its length, `digest` instead of its own; `status` is
    the answer."""

    cut: int | None = None
    times: int = 1 << 30
    ranges: bool = True
    body: bytes | None = None
    size: int | None = None
    digest: str | None = None
    status: int | None = None


@dataclass
class FakeHub:
    """Serves one repo. `requests` has (method, path, Range header) of each request, `tokens` the bearer tokens,
    `cdn_tokens` those that came with the content of large files, None where there was none; these are at `cdn`.

    `main` is COMMIT, with `files`; where `newer` has files, it is the commit NEWER once somebody was told COMMIT."""

    repo: str
    files: dict[str, bytes]
    faults: dict[str, Fault] = field(default_factory=dict)
    newer: dict[str, bytes] | None = None
    main: str = COMMIT
    status: int | None = None  # of every request to the API
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    cdn_tokens: set[str | None] = field(default_factory=set)
    cdn: str | None = None  # where it is not the endpoint

    @classmethod
    def of_folder(cls, repo: str, folder: Path) -> FakeHub:
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return cls(repo, {**files, "README.md": b"A model.\n", ".gitattributes": b""})

    def is_large(self, name: str) -> bool:
        return name.endswith(".safetensors")

    def revision(self, name: str) -> str | None:
        """The commit that a name in a request means."""
        commit = self.main if name == "main" else name
        return commit if commit == COMMIT or (commit == NEWER and self.newer is not None) else None

    def files_of(self, commit: str | None) -> dict[str, bytes]:
        return {COMMIT: self.files, NEWER: self.newer or {}}.get(commit or "", {})

    def etag(self, name: str, commit: str = COMMIT) -> str:
        content = self.files_of(commit)[name]
        if self.is_large(name):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def ranges_of(self, name: str) -> list[str | None]:
        """Range headers of the requests that transferred a file."""
        wanted = f"/cdn/{self.etag(name)}" if self.is_large(name) else f"/{self.repo}/resolve/{COMMIT}/{name}"
        return [ranged for method, path, ranged in self.requests if method == "GET" and path == wanted]

    def __enter__(self) -> FakeHub:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        if token := self.headers.get("Authorization"):
            self.hub.tokens.add(token)
        api, resolve = f"/api/models/{self.hub.repo}", f"/{self.hub.repo}/resolve/"
        if path.startswith(api):
            self._api(path[len(api) :])
        elif path.startswith(resolve):
            revision, _, name = path[len(resolve) :].partition("/")
            self._resolve(name, self.hub.revision(revision))
        elif path.startswith("/cdn/"):
            self.hub.cdn_tokens.add(self.headers.get("Authorization"))
            commit = urlsplit(self.path).query
            names = (name for name in self.hub.files_of(commit) if self.hub.etag(name, commit) == path[5:])
            self._transfer(next(names, ""), commit)
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _api(self, rest: str) -> None:
        hub = self.hub
        if hub.status is not None:
            codes = {401: "RepoNotFound", 403: "GatedRepo", 404: "RepoNotFound"}
            self._send(hub.status, b"{}", {"X-Error-Code": codes[hub.status]} if hub.status in codes else {})
        elif (revision := rest.removeprefix("/revision/") or "main") and (commit := hub.revision(revision)):
            siblings = [self._sibling(name, commit) for name in hub.files_of(commit)]
            facts = {"_id": "1", "id": hub.repo, "modelId": hub.repo, "sha": commit, "siblings": siblings, "tags": []}
            self._json({**facts, "private": False, "downloads": 0, "likes": 0})
            if revision == "main" and hub.newer is not None:
                hub.main = NEWER
        elif rest.startswith("/tree/") and (commit := hub.revision(rest[6:])):
            self._json([self._entry(name, commit) for name in hub.files_of(commit)])
        else:
            self._send(404, b"", {})

    def _sibling(self, name: str, commit: str) -> dict[str, object]:
        if "blobs=true" not in urlsplit(self.path).query.lower():
            return {"rfilename": name}
        entry = self._entry(name, commit)
        sibling = {"rfilename": name, "size": entry["size"], "blobId": entry["oid"]}
        if lfs := entry.get("lfs"):
            sibling["lfs"] = {**lfs, "sha256": lfs["oid"]}
        return sibling

    def _entry(self, name: str, commit: str) -> dict[str, Any]:
        fault, size, etag = self.hub.faults.get(name, Fault()), self._size(name, commit), self.hub.etag(name, commit)
        entry = {"type": "file", "path": name, "size": size, "oid": etag[:40]}
        if self.hub.is_large(name):
            entry["lfs"] = {"oid": fault.digest or etag, "size": size, "pointerSize": 130}
        return entry

    def _size(self, name: str, commit: str) -> int:
        size = self.hub.faults.get(name, Fault()).size
        return len(self.hub.files_of(commit)[name]) if size is None else size

    def _resolve(self, name: str, commit: str | None) -> None:
        hub = self.hub
        if commit is None or name not in hub.files_of(commit):
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit or COMMIT})
            return
        fault = hub.faults.get(name, Fault())
        if fault.status is not None:
            self._send(fault.status, b"", {})
            return
        if hub.is_large(name):
            etag, size = hub.etag(name, commit), self._size(name, commit)
            linked = {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(size), "X-Repo-Commit": commit}
            location = f"{hub.cdn or hub.endpoint}/cdn/{etag}?{commit}"
            self._send(302, b"", {**linked, "ETag": '"pointer"', "Location": location})
        else:
            self._transfer(name, commit)

    def _transfer(self, name: str, commit: str) -> None:
        hub = self.hub
        if name not in hub.files_of(commit):
            self._send(404, b"", {})
            return
        fault = hub.faults.get(name, Fault())
        body = hub.files_of(commit)[name] if fault.body is None else fault.body
        headers = {"ETag": f'"{hub.etag(name, commit)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        start, status, ranged = 0, 200, self.headers.get("Range")
        if ranged and fault.ranges:
            start, status = int(ranged.removeprefix("bytes=").split("-")[0]), 206
            if start >= len(body):
                self._send(416, b"", {"Content-Range": f"bytes */{len(body)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        cut = None
        if fault.cut is not None and fault.times > 0 and self.command == "GET":
            fault.times -= 1
            cut = fault.cut
        self._send(status, body[start:], headers, cut)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(OSError):  # the client may have gone
            self.wfile.write(body if cut is None else body[:cut])
            if cut is not None:
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
