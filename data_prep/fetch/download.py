"""A downloader for pooch that resumes: HTTP ranges, a ``.part`` file, retries, and answers that are no file found out.

pooch checks the hash and moves the file to its place; this class brings the bytes. An interrupted download leaves
``.FILE.part`` with ``.FILE.part.json`` (address, validators, total size) next to it. The next attempt, of this process
or a later one, asks for the rest only, and with ``If-Range``, so that a file which changed on the server meanwhile
starts again instead of being joined to its old half.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from grn_cotrain import __version__
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json

from .catalogue import file_name, human_size
from .progress import PlainMeter

__all__ = ["DownloadError", "ResumingDownloader", "redact"]

CHUNK = 1 << 16
_RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_MAX_WAIT = 60.0
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head)\b", re.IGNORECASE | re.DOTALL)


class DownloadError(Exception):
    """A download failed for good; the text is the reason.

    ``elsewhere`` states whether another server, or a person with a browser, could help; ``advice`` names the fix, where
    the caller cannot know it.
    """

    def __init__(self, reason: str, *, elsewhere: bool = True, advice: str = "") -> None:
        super().__init__(reason)
        self.elsewhere = elsewhere
        self.advice = advice


class _RetryError(Exception):
    """This attempt failed, the next may not: after ``wait`` seconds, and at most ``patience`` times in a row."""

    def __init__(self, reason: str, wait: float | None = None, patience: int = 1000) -> None:
        super().__init__(reason)
        self.wait = wait
        self.patience = patience


def redact(url: str) -> str:
    """The address without user name and password, for messages and records."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))


@dataclass
class ResumingDownloader:
    """Callable ``(url, output_file, pooch)`` as pooch wants it.

    Attributes
    ----------
    part
        Place of the unfinished download, on the same disk as the final place.
    meter, say
        Receivers of every byte, and of a line for each thing that went wrong and is tried again.
    has_checksum
        Whether the result will be compared with a known hash; then a server without validators may be resumed too.
    attempts
        Failures in a row, without a byte gained, after which it gives up.
    backoff
        Seconds before the second attempt; doubled each time.
    timeout
        Seconds to connect, and seconds of silence while reading.
    suggested
        File name from ``Content-Disposition``, made safe, or empty.
    """

    part: Path
    meter: PlainMeter
    say: Callable[[str], object]
    has_checksum: bool
    attempts: int = 5
    backoff: float = 1.0
    timeout: tuple[float, float] = (15.0, 60.0)
    sleep: Callable[[float], object] = time.sleep
    suggested: str = field(default="", init=False)

    @property
    def _record(self) -> Path:
        return self.part.with_name(self.part.name + ".json")

    def __call__(self, url: str, output_file: str, pooch: object = None) -> None:
        """Bring ``url`` to ``output_file``; what is there already of it is not asked for again.

        Raises
        ------
        DownloadError
            Refused, not found, unreachable after all attempts, no file but a web page, or no room on the disk.
        """
        failures = 0
        while True:
            before = self._size
            try:
                self._attempt(url)
                break
            except _RetryError as error:
                failures = 1 if self._size > before else failures + 1
                if failures >= min(self.attempts, error.patience):
                    raise DownloadError(f"{error} ({failures} attempts)") from None
                wait = self.backoff * 2 ** (failures - 1) if error.wait is None else error.wait
                wait = min(wait, _MAX_WAIT)
                kept = f", {human_size(self._size)} are kept" if self._size else ""
                self.say(f"{error}; again in {wait:.0f} s{kept}")
                self.sleep(wait)
        os.replace(self.part, output_file)
        self._record.unlink(missing_ok=True)

    def forget(self) -> None:
        """Drop what is there of an unfinished download."""
        self.part.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    # -- one attempt -------------------------------------------------------------------------------------------------

    @property
    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self, url: str) -> None:
        import requests

        earlier = self._earlier(url)
        offset = self._size if earlier else 0
        if earlier and offset == earlier.get("total"):
            self.suggested = earlier.get("suggested", "")
            return  # killed between the last byte and the move
        headers = {"User-Agent": f"grn-cotrain/{__version__}", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            validator = earlier.get("etag") or earlier.get("last_modified")
            if validator:
                headers["If-Range"] = validator
        host = urlsplit(url).hostname
        try:
            response = requests.get(url, headers=headers, stream=True, timeout=self.timeout)
        except requests.exceptions.SSLError as error:
            raise DownloadError(f"the certificate of {host} cannot be verified ({_root(error)})") from None
        except requests.exceptions.Timeout:
            raise _RetryError(f"{host} does not answer within {max(self.timeout):.0f} s") from None
        except requests.exceptions.ConnectionError as error:
            reason = _root(error)
            if "Failed to resolve" in reason:
                raise _RetryError(f"{host} is not found: no network, or a wrong address", patience=2) from None
            raise _RetryError(f"{host} cannot be reached ({reason})") from None
        except requests.exceptions.RequestException as error:
            raise DownloadError(f"{redact(url)} cannot be asked for ({_root(error)})") from None
        with response:
            self._check_answer(response, url, offset)
            if response.status_code != 206:
                if offset:
                    self.say("the server sends the file from its start (it changed there, or parts are not offered)")
                offset = 0
            self._receive(response, url, offset, earlier)

    def _read_record(self) -> dict[str, Any]:
        try:
            return dict(read_json(self._record, what="record of a download", shape={}))
        except (OSError, UserError):
            return {}

    def _earlier(self, url: str) -> dict[str, Any]:
        """Record of the unfinished download; empty where it must start again."""
        earlier = self._read_record() if self._size else {}
        if earlier.get("url") != redact(url):
            self.forget()
            return {}
        if not (earlier.get("etag") or earlier.get("last_modified") or self.has_checksum):
            self.say("the server names no version of the file, so the first part cannot be trusted: downloading again")
            self.forget()
            return {}
        return earlier

    def _check_answer(self, response: Any, url: str, offset: int) -> None:
        """Refuse answers that are no file; ask again where that may help."""
        status, reason = response.status_code, f"HTTP {response.status_code} {response.reason or ''}".strip()
        host = urlsplit(response.url).hostname
        hops = [answer.url for answer in (*response.history, response)]
        if url.lower().startswith("https:") and any(not hop.lower().startswith("https:") for hop in hops):
            raise DownloadError(f"{host} sends us from https to an unprotected address")
        if status in _RETRY_STATUS:
            after = response.headers.get("Retry-After", "").strip()  # its form with a date is rare
            raise _RetryError(f"{host} answers {reason}", float(after) if after.isdigit() else None)
        if status == 416 or (status == 206 and not self._continues(response, offset)):
            self.forget()
            raise _RetryError("the part that is there does not fit the server's file: downloading again", 0.0)
        if status not in (200, 206):
            hint = {401: ", it wants a login", 403: ", it refuses", 404: ", the file is not there (any more)"}
            if 200 <= status < 300:
                hint[status] = " without the file (a check for robots?)"
            raise DownloadError(f"{host} answers {reason}{hint.get(status, '')}")

    def _continues(self, response: Any, offset: int) -> bool:
        """Whether a partial answer begins where our part ends, in a file of the size that was promised."""
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if not match or int(match[1]) != offset:
            return False
        promised = self._read_record().get("total")
        return promised is None or match[2] == "*" or int(match[2]) == promised

    def _receive(self, response: Any, url: str, offset: int, earlier: dict[str, Any]) -> None:
        import requests

        headers, host = response.headers, urlsplit(response.url).hostname
        web_page = DownloadError(f"{host} sends a web page (a login?) instead of the file")
        self.suggested = _suggested(headers.get("Content-Disposition", ""))
        asked_for_page = file_name(url).endswith((".html", ".htm"))
        encoded = headers.get("Content-Encoding", "identity").lower() not in ("", "identity")
        length = headers.get("Content-Length", "")
        total = offset + int(length) if length.isdigit() and not encoded else None
        if offset == 0:
            page = headers.get("Content-Type", "").lower().startswith("text/html")
            if page and not asked_for_page:
                raise web_page
            etag = headers.get("ETag", "")
            earlier = {
                "url": redact(url),
                "etag": "" if etag.startswith("W/") or encoded else etag,  # weak ones may not be used for ranges
                "last_modified": "" if encoded else headers.get("Last-Modified", ""),
                "total": total,
                "suggested": self.suggested,
            }
            if total is None and headers.get("Transfer-Encoding", "").lower() != "chunked" and not self.has_checksum:
                self.say("the server does not report the length of the file: a cut-off end would not be detected")
        free = shutil.disk_usage(next(folder for folder in self.part.parents if folder.exists())).free
        if total is not None and total - offset > free:  # reported at once rather than after an hour
            needed = human_size(total - offset)
            raise DownloadError(
                f"needs {needed} at {self.part.parent}, where {human_size(free)} are free", elsewhere=False
            )
        try:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            self._record.write_text(json.dumps(earlier), encoding="utf-8")
            with self.part.open("ab" if offset else "wb") as handle:
                self.meter.begin(offset, total)
                for number, chunk in enumerate(response.iter_content(CHUNK)):
                    if number == 0 and offset == 0 and not asked_for_page and _HTML.match(chunk):
                        raise web_page
                    handle.write(chunk)
                    self.meter.advance(len(chunk))
        except DownloadError:
            self.forget()
            raise
        except requests.exceptions.RequestException:  # trouble of the connection, as opposed to trouble of the disk
            of = f" of {human_size(total)}" if total is not None else ""
            raise _RetryError(f"the connection was cut or fell silent before the end{of}") from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DownloadError(
                    f"no room is left at {self.part.parent} after {human_size(self._size)}", elsewhere=False
                ) from None
            raise DownloadError(f"{self.part} cannot be written ({error.strerror})", elsewhere=False) from None
        size = self._size
        if total is not None and size != total:
            raise _RetryError(f"the connection was cut at {human_size(size)} of {human_size(total)}")
        if size == 0:
            self.forget()
            raise DownloadError(f"{host} sends an empty file")


def _root(error: BaseException) -> str:
    """The innermost reason of requests' nested errors, in a few words."""
    inner: Any = error
    while isinstance(deeper := getattr(inner, "reason", None) or next(iter(inner.args), None), BaseException):
        inner = deeper
    text = getattr(inner, "strerror", None) or str(inner).rpartition(": ")[2] or type(inner).__name__
    return " ".join(str(text).split())[:120]


def _suggested(disposition: str) -> str:
    match = re.search(r"filename\*?=(?:UTF-8'')?\"?([^\";]+)", disposition, flags=re.IGNORECASE)
    return file_name("https://x/" + match[1].strip().replace("\\", "/").rpartition("/")[2]) if match else ""
