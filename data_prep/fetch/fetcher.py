"""Bring a resource into the cache, checked, and return its place."""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grn_cotrain import commandline
from grn_cotrain.errors import UserError
from grn_cotrain.files import sha256_file
from grn_cotrain.progress import counted, human_size

from .cache import CACHE_VARIABLE, Slot, cache_folder, content_hash
from .catalogue import Resource, redact
from .made import PROCESS_VERSION, made_name, make

if TYPE_CHECKING:
    from .download import DownloadError, ResumingDownloader

__all__ = ["MIRROR_VARIABLE", "OFFLINE_VARIABLE", "Fetcher"]

MIRROR_VARIABLE = "GRN_COTRAIN_MIRROR"
OFFLINE_VARIABLE = "GRN_COTRAIN_OFFLINE"

Say = Callable[[str], object]


@dataclass
class Fetcher:
    """How resources are brought.

    Parameters
    ----------
    entries
        The catalogue, for the archives that entries name.
    offline
        Use the cache only; also set by ``GRN_COTRAIN_OFFLINE=1``.
    refresh
        Download again and accept what comes, if no published checksum forbids it.
    base_url
        A mirror: the cache folder of another machine served over http(s); also ``GRN_COTRAIN_MIRROR``.
    cache
        Another cache folder than :func:`~data_prep.fetch.cache.cache_folder`.
    options
        Options of :class:`~data_prep.fetch.download.ResumingDownloader`: attempts, backoff, timeout.
    """

    entries: Mapping[str, Resource]
    offline: bool = False
    refresh: bool = False
    base_url: str | None = None
    cache: Path | None = None
    say: Say = commandline.say
    options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        self.cache = (self.cache or cache_folder()).expanduser().absolute()
        self.offline = self.offline or os.environ.get(OFFLINE_VARIABLE, "").lower() in ("1", "true", "yes")
        self.base_url = self.base_url or os.environ.get(MIRROR_VARIABLE) or None
        if self.base_url and not self.base_url.lower().startswith(("http://", "https://")):
            raise UserError(f"--base-url '{self.base_url}': must begin with https:// or http://")
        if self.offline and self.refresh:
            raise UserError("--refresh: downloads again, which --offline forbids; leave one out")
        self._refreshed: set[str] = set()

    def fetch(self, resource: Resource) -> Path:
        """Return the file (or folder) that readers take; downloaded, checked, unpacked where it is not there yet.

        Raises
        ------
        UserError
            One line: what is wrong and what to do, such as what to download from where to put it where.
        """
        download = self._download(self.entries[resource.from_] if resource.from_ else resource)
        name = made_name(resource, download.name)
        return download if name is None else self._make(resource, download, name)

    def cached(self, resource: Resource) -> bool:
        """Whether the download is in the cache; its content is not checked."""
        owner = self.entries[resource.from_] if resource.from_ else resource
        return self.slot(owner).path.exists()

    def slot(self, resource: Resource) -> Slot:
        """The place in the cache of a resource's download."""
        assert self.cache is not None
        return Slot(self.cache, _label(resource), resource.url, resource.file)

    # -- the download ------------------------------------------------------------------------------------------------

    def _download(self, resource: Resource) -> Path:
        slot = self.slot(resource)
        refresh = self.refresh and resource.url not in self._refreshed
        if not refresh and _is_good(resource, slot):
            return slot.path  # without the lock: a cache may be shared and read-only
        if self.offline and not slot.path.exists():
            with suppress(OSError):  # so that there is a folder to put the file into
                slot.folder.mkdir(parents=True, exist_ok=True)
            raise UserError(
                f"{resource.name}: not in the cache, and no network is to be used; {_by_hand(resource, slot)}"
            )
        with slot.locked(resource.name, self.say):
            if refresh:
                self._bring(resource, slot, expected=resource.checksum)
            elif not _is_good(resource, slot):  # another process may have brought it meanwhile
                self._mend(resource, slot)
        self._refreshed.add(resource.url)
        return slot.path

    def _mend(self, resource: Resource, slot: Slot) -> None:
        """A file without a record was put there by hand; one that differs from its record is damaged."""
        expected = _expected(resource, slot)
        if slot.path.exists() and slot.record.get("sha256"):
            self.say(f"{resource.name}: the file in the cache is not what was recorded (damaged?); fetched again")
            if self.offline:
                raise UserError(
                    f"{resource.name}: the file at {slot.path} is damaged and there is no network (--offline); "
                    f"{_by_hand(resource, slot)}"
                )
            slot.path.unlink()
        if not slot.path.exists():
            self._bring(resource, slot, expected=expected)
            return
        found = resource.checksum and _hash_like(slot.path, resource.checksum)
        if found and found != resource.checksum:
            raise UserError(
                f"{resource.name}: the file at {slot.path} has {found.replace(':', ' ')}, should have "
                f"{(resource.checksum or '').partition(':')[2]}; {_by_hand(resource, slot)}"
            )
        self.say(f"{resource.name}: found at {slot.path}, put there by hand")
        self._record(resource, slot, resource.url)

    def _bring(self, resource: Resource, slot: Slot, *, expected: str | None) -> None:
        """Download into the slot. Called with the lock held."""
        from .download import DownloadError  # loads pooch and requests

        self._announce(resource)
        addresses = [resource.url, *resource.mirrors]
        if self.base_url:
            addresses = [f"{self.base_url.rstrip('/')}/{slot.folder.name}/{slot.path.name}"]
        for number, url in enumerate(addresses, 1):
            try:
                downloader = self._stream(resource, slot, url, expected)
                break
            except DownloadError as error:
                if error.elsewhere and number < len(addresses):
                    self.say(f"  {error}; next from {redact(addresses[number])}")
                    continue
                raise UserError(f"{resource.name}: {error}; {_advice(error, resource, slot)}") from None
        named = {} if Path(resource.file).suffix or not downloader.suggested else {"file": downloader.suggested}
        os.replace(slot.part, slot.folder / named.get("file", slot.path.name))
        downloader.forget()
        self._record(resource, slot, url, **named)

    def _stream(self, resource: Resource, slot: Slot, url: str, expected: str | None) -> ResumingDownloader:
        """Bring one address to the slot's ``part``, checked."""
        from .download import DownloadError, ResumingDownloader

        self.say(f"  from {redact(url)}")
        console = commandline.console() if self.say is commandline.say else None
        with counted(resource.name, "bytes", console=console, say=self.say) as progress:
            more = {"has_checksum": expected is not None, **(self.options or {})}
            downloader = ResumingDownloader(slot.part, progress, lambda line: self.say(f"  {line}"), **more)
            downloader.bring(url)
        found = _hash_like(slot.part, expected) if expected else None
        if expected and found != expected:
            downloader.forget()
            whose, advice = "published", "it was replaced there, or something on the way changed it; try again, and"
            advice += " report it if it stays so"
            if expected != resource.checksum:
                whose = "recorded at first use"
                advice = (
                    f"if the file was replaced there, 'grn-prep fetch {resource.name} --refresh' accepts the new one"
                )
            raise DownloadError(
                f"what {redact(url)} sends has {str(found).replace(':', ' ')}, should have"
                f" {expected.partition(':')[2]} ({whose}); nothing was kept",
                advice=advice,
            )
        return downloader

    def _announce(self, resource: Resource) -> None:
        self.say(f"fetch {resource.name}{_size(resource)}" + (f": {resource.what}" if resource.what else ""))
        for label, text in (("licence", resource.licence), ("NOTE", resource.terms), ("cite", resource.citation)):
            if text:
                self.say(f"  {label}: {text}")

    def _record(self, resource: Resource, slot: Slot, url: str, **more: str) -> None:
        path = slot.folder / more.get("file", slot.path.name)
        found, previous = sha256_file(path), slot.record.get("sha256")
        slot.write_record(
            **more,
            url=redact(url),
            sha256=found,
            size=path.stat().st_size,
            trust="published checksum" if resource.checksum else "first use",
            fetched=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        if resource.checksum:
            self.say(f"  {resource.checksum.partition(':')[0]} as published")
        elif previous and previous != found:
            self.say(f"  sha256 {previous} before, {found} now: the file has changed there")
        elif previous != found:
            self.say(
                f"  sha256 {found}: nobody publishes one, so this first download is trusted and later ones held to it"
            )

    # -- what is made from it ----------------------------------------------------------------------------------------

    def _make(self, resource: Resource, download: Path, name: str) -> Path:
        assert self.cache is not None
        origin = self.slot(self.entries[resource.from_] if resource.from_ else resource)
        key = "\n".join((origin.folder.name, *resource.members, resource.process))
        slot = Slot(self.cache, f"{_label(resource)}-made", key, name)
        made_of = {"download": origin.record.get("sha256"), "version": PROCESS_VERSION}

        def is_made() -> bool:
            return slot.record.get("made_of") == made_of and slot.holds()

        if is_made():
            return slot.path
        with slot.locked(resource.name, self.say):
            if is_made():
                return slot.path  # another process has made it meanwhile
            if slot.record.get("made_of") == made_of:
                self.say(f"{resource.name}: {slot.path.name} is damaged; made again from {download}")
            if slot.path.is_dir():
                shutil.rmtree(slot.path)
            try:
                notes = make(resource, download, slot.path)
            except OSError as error:
                raise UserError(
                    f"{resource.name}: {slot.path} cannot be written ({error.strerror}); free some room or set "
                    f"{CACHE_VARIABLE} to another folder"
                ) from None
            slot.write_record(made_of=made_of, sha256=content_hash(slot.path), file=name)
            for note in notes:
                self.say(f"{resource.name}: {note}")
        return slot.path


def _label(resource: Resource) -> str:
    return resource.name if "://" not in resource.name else "url"


def _advice(error: DownloadError, resource: Resource, slot: Slot) -> str:
    if error.advice:
        return error.advice
    if not error.elsewhere:
        return f"free some or set {CACHE_VARIABLE} to a folder on a larger disk; what has come is kept and continued"
    kept = f"; {human_size(slot.part.stat().st_size)} are kept and continued" if slot.part.exists() else ""
    return f"try again later{kept}, or {_by_hand(resource, slot)}"


def _by_hand(resource: Resource, slot: Slot) -> str:
    return f"download {redact(resource.url)}{_size(resource)} and put it at {slot.path}"


def _size(resource: Resource) -> str:
    return f" ({resource.size_text})" if resource.size_text else ""


def _expected(resource: Resource, slot: Slot) -> str | None:
    """The published checksum, else the one of the first download."""
    recorded = slot.record.get("sha256")
    return resource.checksum or (f"sha256:{recorded}" if recorded else None)


def _is_good(resource: Resource, slot: Slot) -> bool:
    """Whether the file agrees with its record, and that with the checksum that the catalogue has by now."""
    return slot.holds() and (not resource.sha256 or slot.record.get("sha256") == resource.sha256)


def _hash_like(path: str | Path, checksum: str) -> str:
    """The checksum of a file, written like the given one: ``sha256:...`` or ``md5:...``."""
    import pooch

    algorithm = checksum.partition(":")[0]
    return f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"
