"""The Hub as estimators see it, on this machine: config.json and safetensors headers made from the shapes that a model is known to have.

It is a proxy that ends TLS itself, with a certificate of its own: a tool that has huggingface.co written into it asks it like any other
(HTTPS_PROXY, SSL_CERT_FILE), and nothing in the tool is changed.
"""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = "model.safetensors"
BITS = {"F32": 32, "I32": 32, "BF16": 16, "F16": 16, "F8_E4M3": 8, "I8": 8, "U8": 8}
_FILE = re.compile(r"/([^/]+/[^/]+)/(?:resolve|raw)/[^/]+/(.+)")
_API = re.compile(r"/api/models/([^/]+/[^/?]+)(/.*)?")


@dataclass(frozen=True)
class Repository:
    """A model: its config.json, and its tensors as dtype and shape by name."""

    config: Mapping[str, Any]
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]

    @cached_property
    def files(self) -> dict[str, bytes]:
        """The files that are there whole; of the weights only the header is."""
        return {"config.json": json.dumps(self.config).encode(), WEIGHTS: self._header()}

    @cached_property
    def stored_bytes(self) -> int:
        """What the weights take on disk."""
        return sum(prod(shape) * BITS[dtype] // 8 for dtype, shape in self.tensors.values())

    @cached_property
    def parameters(self) -> dict[str, int]:
        """Elements by dtype, as the Hub counts them."""
        found: dict[str, int] = {}
        for dtype, shape in self.tensors.values():
            found[dtype] = found.get(dtype, 0) + prod(shape)
        return found

    def _header(self) -> bytes:
        place, header = 0, {"__metadata__": {"format": "pt"}}
        for name, (dtype, shape) in self.tensors.items():
            end = place + prod(shape) * BITS[dtype] // 8
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, end]}  # type: ignore[dict-item]
            place = end
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text


class _Hub(BaseHTTPRequestHandler):
    """Answers of the Hub's API, inside TLS after CONNECT or plain."""

    protocol_version = "HTTP/1.1"
    repositories: Mapping[str, Repository]
    tls: ssl.SSLContext

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Close what TLS made of the connection too."""
        with suppress(OSError):
            super().finish()
        self.connection.close()

    def do_CONNECT(self) -> None:
        """Be the host that was asked for."""
        self.send_response(200)
        self.end_headers()
        self.connection = self.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)  # type: ignore[assignment]
        self.close_connection = False

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        """The API, or a file."""
        path = re.sub(r"^https?://[^/]+", "", self.path).partition("?")[0]
        if match := _API.fullmatch(path):
            name, more = match.groups()
            if (found := self.repositories.get(name)) is None:
                return self._say(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return self._say(200, json.dumps(_tree(found) if more and "tree" in more else _info(name, found)).encode(), {"Content-Type": "application/json"})
        match = _FILE.fullmatch(path)
        repository = self.repositories.get(match[1]) if match else None
        if match is None or repository is None:
            return self._say(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        body = repository.files.get(match[2])
        return self._say(404, b"", {"X-Error-Code": "EntryNotFound"}) if body is None else self._send(body, repository if match[2] == WEIGHTS else None)

    def _send(self, body: bytes, weights: Repository | None) -> None:
        total = len(body) + (weights.stored_bytes if weights else 0)
        tag = {"ETag": f'"{sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None and (weights is None or self.command == "HEAD"):
            return self._say(200, body, tag | {"Content-Length": str(total)})
        first, last = (int(asked[1]), int(asked[2] or total - 1)) if asked else (0, len(body) - 1)
        part = body[first : last + 1]
        return self._say(206 if asked else 200, part, tag | {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{total}"})

    def _say(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with suppress(OSError):  # who asked may be gone
                self.wfile.write(body)


def _info(name: str, repository: Repository) -> dict[str, Any]:
    counts = repository.parameters
    sizes = {"config.json": len(repository.files["config.json"]), WEIGHTS: len(repository.files[WEIGHTS]) + repository.stored_bytes}
    return {
        "id": name, "modelId": name, "sha": COMMIT, "private": False, "gated": False, "disabled": False, "tags": ["safetensors"], "pipeline_tag": "text-generation",
        "library_name": "transformers", "downloads": 0, "likes": 0, "config": {key: repository.config.get(key) for key in ("architectures", "model_type")},
        "safetensors": {"parameters": counts, "total": sum(counts.values())}, "siblings": [{"rfilename": file, "size": size, "blobId": _git(repository.files[file])} for file, size in sizes.items()],
    }  # fmt: skip


def _git(content: bytes) -> str:
    """The name of a file's content in Git."""
    return sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _tree(repository: Repository) -> list[dict[str, Any]]:
    sizes = {"config.json": len(repository.files["config.json"]), WEIGHTS: len(repository.files[WEIGHTS]) + repository.stored_bytes}
    return [{"type": "file", "path": file, "size": size, "oid": _git(repository.files[file])} for file, size in sizes.items()]


@contextmanager
def served(repositories: Mapping[str, Repository]) -> Iterator[dict[str, str]]:
    """Serve them until the block ends; the variables that lead a process there, and nowhere else."""
    for repository in repositories.values():
        len(repository.files)  # made before anybody waits for them
    with TemporaryDirectory() as folder:
        key, certificate = Path(folder) / "key.pem", Path(folder) / "hub.pem"
        words = [
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=huggingface.co",
            "-addext",
            "subjectAltName=DNS:huggingface.co,DNS:*.huggingface.co",
        ]
        subprocess.run(["openssl", "req", *words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (_Hub,), {"repositories": repositories, "tls": tls}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = f"http://127.0.0.1:{server.server_address[1]}"
        home = Path(folder) / "home"
        home.mkdir()
        try:
            yield {
                **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), proxy),
                **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), str(certificate)),
                "HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore",
            }  # fmt: skip
        finally:
            server.shutdown()
            server.server_close()
