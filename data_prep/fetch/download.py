"""pooch's downloader, made to resume: HTTP ranges, a ``.part`` file, retries, and answers that are not the file.

pooch asks and brings the bytes. Its own downloads begin again after every cut, keep a web page as if it were the file,
and follow a redirect from https to http, so this class adds what is missing. An interrupted download leaves
``.FILE.part`` with ``.FILE.part.json`` (address, validators, total size) next to it. The next attempt, of this process
or a later one, asks for the rest only, and with ``If-Range``, so that a file which changed on the server meanwhile
starts again instead of being joined to its old half.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import urlsplit

import pooch
import requests

from grn_cotrain import __version__
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, write_json
from grn_cotrain.progress import human_size

from .catalogue import file_name, redact

__all__ = ["DownloadError", "ResumingDownloader"]

_RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_MAX_WAIT = 60.0
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head)\b", re.IGNORECASE | re.DOTALL)
_HINTS = {401: ", it wants a login", 403: ", it refuses", 404: ", the file is not there (any more)"}


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


class ResumingDownloader(pooch.HTTPDownloader):
    """Brings one address to the file ``part``; what is there already of it is not asked for again.

    Parameters
    ----------
    part
        Place of the unfinished download; it holds the whole file in the end.
    progress, say
        Receivers of the bytes so far and in all, and of a line for each thing that went wrong and is tried again.
    has_checksum
        Whether the result will be compared with a known hash; then a server without validators may be resumed too.
    attempts
        Failures in a row, without a byte gained, after which it gives up.
    backoff
        Seconds before the second attempt; doubled each time.
    timeout
        Seconds to connect, and seconds of silence while reading.

    Attributes
    ----------
    suggested
        File name from ``Content-Disposition``, made safe, or empty.
    """

    def __init__(
        self,
        part: Path,
        progress: Callable[[int, int | None], None],
        say: Callable[[str], object],
        *,
        has_checksum: bool,
        attempts: int = 5,
        backoff: float = 1.0,
        timeout: tuple[float, float] = (15.0, 60.0),
    ) -> None:
        super().__init__(chunk_size=1 << 16, timeout=timeout, hooks={"response": self._answered})
        self.part, self.progress, self.say = part, progress, say
        self.has_checksum, self.attempts, self.backoff = has_checksum, attempts, backoff
        self.suggested = ""
        self._note = part.with_name(part.name + ".json")

    def bring(self, url: str) -> None:
        """Download ``url``.

        Raises
        ------
        DownloadError
            Refused, not found, unreachable after all attempts, no file but a web page, or no room on the disk.
        """
        failures = 0
        while True:
            before = self._size
            try:
                return self._attempt(url)
            except _RetryError as error:
                failures = 1 if self._size > before else failures + 1
                if failures >= min(self.attempts, error.patience):
                    raise DownloadError(f"{error} ({failures} attempts)") from None
                wait = min(self.backoff * 2 ** (failures - 1) if error.wait is None else error.wait, _MAX_WAIT)
                kept = f", {human_size(self._size)} are kept" if self._size else ""
                self.say(f"{error}; again in {wait:.0f} s{kept}")
                sleep(wait)

    def forget(self) -> None:
        """Drop what is there of an unfinished download."""
        self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    @property
    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self, url: str) -> None:
        self._url, self._host = url, urlsplit(url).hostname
        self._earlier, self._begun = self._noted(), False
        self._total: int | None = None
        self._offset = self._size
        if self._earlier and self._offset == self._earlier.get("total"):
            self.suggested = self._earlier.get("suggested", "")
            return  # killed after the last byte
        headers = {"User-Agent": f"grn-cotrain/{__version__}", "Accept-Encoding": "identity"}
        if self._offset:
            headers["Range"] = f"bytes={self._offset}-"
            if validator := self._earlier.get("etag") or self._earlier.get("last_modified"):
                headers["If-Range"] = validator
        self.kwargs["headers"] = headers
        try:
            self(url, self, None)  # pooch asks, and writes to `self`
        except requests.exceptions.RequestException as error:
            raise self._trouble(error) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                reason = f"no room is left at {self.part.parent} after {human_size(self._size)}"
            else:
                reason = f"{self.part} cannot be written ({error.strerror})"
            raise DownloadError(reason, elsewhere=False) from None
        if self._total is not None and self._size != self._total:
            raise _RetryError(f"the connection was cut at {human_size(self._size)} of {human_size(self._total)}")
        if self._size == 0:
            self.forget()
            raise DownloadError(f"{self._host} sends an empty file")

    def _noted(self) -> dict[str, Any]:
        """The note of the unfinished download; empty where it must start again."""
        try:
            earlier = dict(read_json(self._note, what="note of a download", shape={})) if self._size else {}
        except UserError:
            earlier = {}
        if earlier.get("url") == redact(self._url):
            if earlier.get("etag") or earlier.get("last_modified") or self.has_checksum:
                return earlier
            self.say("the server names no version of the file, so the first part cannot be trusted: downloading again")
        self.forget()
        return {}

    def _answered(self, response: requests.Response, **_: Any) -> None:
        """Refuse answers that are not the file, redirects too; ask again where that may help."""
        self._host = urlsplit(response.url).hostname
        if self._url.lower().startswith("https:") and not response.url.lower().startswith("https:"):
            raise DownloadError(f"{self._host} sends us from https to an unprotected address")
        if response.is_redirect:
            return
        status, reason = response.status_code, f"HTTP {response.status_code} {response.reason or ''}".strip()
        if status in _RETRY_STATUS:
            after = response.headers.get("Retry-After", "").strip()  # its form with a date is rare
            raise _RetryError(f"{self._host} answers {reason}", float(after) if after.isdigit() else None)
        place = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", "").strip())
        if status == 416 or (status == 206 and not (place and int(place[1]) == self._offset)):
            self.forget()
            raise _RetryError("the part that is there does not fit the server's file: downloading again", 0.0)
        if status not in (200, 206):
            robots = " without the file (a check for robots?)" if 200 <= status < 300 else ""
            raise DownloadError(f"{self._host} answers {reason}{_HINTS.get(status, robots)}")
        self._begin(response.headers, resumed=status == 206)

    def _begin(self, headers: Any, *, resumed: bool) -> None:
        """Write down length and version of the file, before its first byte is written."""
        if self._offset and not resumed:
            self.say("the server sends the file from its start (it changed there, or parts are not offered)")
            self._offset = 0
        self.suggested = _suggested(headers.get("Content-Disposition", ""))
        encoded = headers.get("Content-Encoding", "identity").lower() not in ("", "identity")
        if not (length := headers.get("Content-Length", "")).isdigit():
            headers.pop("Content-Length", None)  # pooch wants a number or nothing
        self._total = self._offset + int(length) if length.isdigit() and not encoded else None
        if self._offset == 0:
            if headers.get("Content-Type", "").lower().startswith("text/html"):
                self._refuse_page()
            etag = headers.get("ETag", "")
            self._earlier = {
                "url": redact(self._url),
                "etag": "" if etag.startswith("W/") or encoded else etag,  # weak ones may not be used for ranges
                "last_modified": "" if encoded else headers.get("Last-Modified", ""),
                "total": self._total,
                "suggested": self.suggested,
            }
            if self._total is None and headers.get("Transfer-Encoding", "") != "chunked" and not self.has_checksum:
                self.say("the server does not report the length of the file: a cut-off end would not be detected")
        needed, free = (self._total or 0) - self._offset, shutil.disk_usage(self.part.parent).free
        if needed > free:  # reported at once rather than after an hour
            reason = f"needs {human_size(needed)} at {self.part.parent}, where {human_size(free)} are free"
            raise DownloadError(reason, elsewhere=False)
        write_json(self._note, self._earlier)
        if self._offset == 0:
            self.part.write_bytes(b"")
        self._begun = True

    def _refuse_page(self) -> None:
        if not file_name(self._url).endswith((".html", ".htm")):
            self.forget()
            raise DownloadError(f"{self._host} sends a web page (a login?) instead of the file")

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        size = self._size
        if size == 0 and _HTML.match(chunk):
            self._refuse_page()
        with self.part.open("ab") as handle:
            handle.write(chunk)
        self.progress(size + len(chunk), self._total)

    def flush(self) -> None:
        """Nothing waits: every chunk is on its way to the disk."""

    def _trouble(self, error: requests.exceptions.RequestException) -> Exception:
        """Whether to ask again after an error of the connection, and the reason in words."""
        reason, kinds = _root(error), requests.exceptions
        if self._begun:
            of = f" of {human_size(self._total)}" if self._total is not None else ""
            return _RetryError(f"the connection was cut or fell silent before the end{of}")
        if isinstance(error, kinds.SSLError):
            return DownloadError(f"the certificate of {self._host} cannot be verified ({reason})")
        if isinstance(error, kinds.Timeout):
            return _RetryError(f"{self._host} does not answer within {max(self.kwargs['timeout']):.0f} s")
        if not isinstance(error, kinds.ConnectionError):
            return DownloadError(f"{redact(self._url)} cannot be asked for ({reason})")
        if "Failed to resolve" in reason:
            return _RetryError(f"{self._host} is not found: no network, or a wrong address", patience=2)
        return _RetryError(f"{self._host} cannot be reached ({reason})")


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
