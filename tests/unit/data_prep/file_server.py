"""A web server on loopback that misbehaves as told: cuts, refuses, changes files, knows no ranges."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

__all__ = ["FileServer", "Served", "serving"]


@dataclass
class Served:
    """One file of the server.

    ``cuts``: after how many bytes of the body the connection is closed, request by request; ``statuses`` likewise
    answers without a file. None, or the end of the list: all is well.
    """

    body: bytes
    etag: str = '"v1"'
    modified: str = ""
    ranges: bool = True
    content_type: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    cuts: list[int | None] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)
    length: bool = True
    delay: float = 0.0
    pause_after: int | None = None
    range_shift: int = 0
    gate: threading.Event | None = None


class FileServer:
    """Files by path, and a log of all requests as ``(path, headers)``."""

    def __init__(self, port: int) -> None:
        self.files: dict[str, Served] = {}
        self.log: list[tuple[str, dict[str, str]]] = []
        self.base = f"http://127.0.0.1:{port}"

    def url(self, path: str) -> str:
        return f"{self.base}/{path}"

    def add(self, path: str, body: bytes, **options: object) -> str:
        """Serve ``body`` at ``path``; returns the address."""
        self.files["/" + urlsplit(path).path] = Served(body, **options)  # type: ignore[arg-type]
        return self.url(path)

    def ranges(self) -> list[str | None]:
        """The Range header of each request so far."""
        return [headers.get("range") for _, headers in self.log]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: FileServer

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        files = self.files
        files.log.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        served = files.files.get(urlsplit(self.path).path)
        self.close_connection = True
        status = served.statuses.pop(0) if served and served.statuses else None
        if served is None or status is not None:
            body = b"<html>no</html>"
            self.send_response(status or 404)
            for name, value in (served.headers if served else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        time.sleep(served.delay)
        body, start = served.body, 0
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if match and served.ranges and condition in (None, served.etag, served.modified):
            start = int(match[1])
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            start += served.range_shift  # a server that sends another part than the one asked for
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", served.content_type)
        if served.length:
            self.send_header("Content-Length", str(len(body) - start))
        if served.etag:
            self.send_header("ETag", served.etag)
        if served.modified:
            self.send_header("Last-Modified", served.modified)
        for name, value in served.headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        cut = served.cuts.pop(0) if served.cuts else None
        end = len(body) if cut is None else min(start + cut, len(body))
        if served.gate is not None and served.pause_after is not None:
            self.wfile.write(body[start : served.pause_after])
            self.wfile.flush()
            served.gate.wait(20)
            start = served.pause_after
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body[start:end])


@contextmanager
def serving() -> Iterator[FileServer]:
    """A running server; stopped at the end."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    files = FileServer(server.server_address[1])
    handler.files = files  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
