"""Bring a resource into the cache, checked, and return its place."""

from __future__ import annotations

import datetime
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grn_cotrain import commandline
from grn_cotrain.errors import UserError
from grn_cotrain.files import sha256_file

from .cache import CACHE_VARIABLE, Slot, cache_folder, content_hash
from .catalogue import Resource, human_size
from .download import DownloadError, ResumingDownloader, redact
from .process import PROCESS_VERSION, made_name, make
from .progress import download_meter

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
        if not refresh and slot.holds() and self._published(resource, slot):
            return slot.path  # without the lock: a cache may be shared and read-only
        if self.offline and not slot.path.exists():
            with suppress(OSError):  # so that there is a folder to put the file into
                slot.folder.mkdir(parents=True, exist_ok=True)
            raise UserError(
                f"{resource.name}: not in the cache, and no network is to be used; {self._by_hand(resource, slot)}"
            )
        with slot.locked(resource.name, self.say):
            if refresh:
                self._bring(resource, slot, expected=resource.checksum)
            elif slot.path.exists():
                self._check_present(resource, slot)
            else:
                self._bring(resource, slot, expected=_expected(resource, slot))
        self._refreshed.add(resource.url)
        return slot.path

    def _published(self, resource: Resource, slot: Slot) -> bool:
        """Whether the record agrees with the checksum that the catalogue has by now."""
        return not resource.sha256 or slot.record.get("sha256") == resource.sha256

    def _check_present(self, resource: Resource, slot: Slot) -> None:
        """A file without a record was put there by hand; one that differs from its record is damaged."""
        if slot.holds() and self._published(resource, slot):
            return  # another process has brought it meanwhile
        recorded = slot.record.get("sha256")
        if recorded:
            self.say(f"{resource.name}: the file in the cache is not what was recorded (damaged?); fetched again")
            expected = _expected(resource, slot)
            if not self.offline:
                slot.path.unlink()
                self._bring(resource, slot, expected=expected)
                return
            raise UserError(
                f"{resource.name}: the file at {slot.path} is damaged and there is no network (--offline); "
                f"{self._by_hand(resource, slot)}"
            )
        found = sha256_file(slot.path)
        if not _agrees(slot.path, found, resource):
            raise UserError(
                f"{resource.name}: the file at {slot.path} has {_algorithm(resource)} {_hash_of(slot.path, resource)}, "
                f"should have {(resource.checksum or '').partition(':')[2]}; {self._by_hand(resource, slot)}"
            )
        self.say(f"{resource.name}: found at {slot.path}, put there by hand")
        self._record(resource, slot, found, resource.url)

    def _bring(self, resource: Resource, slot: Slot, *, expected: str | None) -> None:
        """Download into the slot. Called with the lock held."""
        self._announce(resource)
        addresses = [resource.url, *resource.mirrors]
        if self.base_url:
            addresses = [f"{self.base_url.rstrip('/')}/{slot.folder.name}/{slot.path.name}"]
        for number, url in enumerate(addresses, 1):
            try:
                found, suggested = self._stream(resource, slot, url, expected)
                break
            except DownloadError as error:
                if error.elsewhere and number < len(addresses):
                    self.say(f"  {error}; next from {redact(addresses[number])}")
                    continue
                raise UserError(f"{resource.name}: {error}; {self._advice(error, resource, slot)}") from None
        if suggested and not Path(resource.file).suffix and suggested != slot.path.name:
            os.replace(slot.path, slot.folder / suggested)
            self._record(resource, slot, found, url, file=suggested)
        else:
            self._record(resource, slot, found, url)

    def _stream(self, resource: Resource, slot: Slot, url: str, expected: str | None) -> tuple[str, str]:
        """One address through pooch; returns the SHA-256 and the name that the server suggests."""
        import pooch

        self.say(f"  from {redact(url)}")
        seen: dict[str, str] = {}
        with download_meter(f"  {resource.name}", self.say) as meter, _quiet_pooch():
            downloader = ResumingDownloader(
                slot.part,
                meter=meter,
                say=lambda line: self.say(f"  {line}"),
                has_checksum=expected is not None,
                **(self.options or {}),
            )

            def bring(address: str, output_file: str, caller: object) -> None:
                downloader(address, output_file, caller)
                seen["sha256"] = sha256_file(output_file)
                if expected and expected.startswith("md5:"):
                    seen["md5"] = pooch.file_hash(output_file, alg="md5")

            # Under another name until it is checked: a failed --refresh leaves the old file alone.
            fresh = slot.folder / f".{slot.path.name}.new"
            fresh.unlink(missing_ok=True)
            try:
                pooch.retrieve(url, known_hash=expected, fname=fresh.name, path=slot.folder, downloader=bring)
            except ValueError as error:
                if isinstance(error, UserError) or not seen or expected is None:
                    raise
                raise _mismatch(resource, url, expected, seen) from None
            os.replace(fresh, slot.path)
        return seen["sha256"], downloader.suggested

    def _announce(self, resource: Resource) -> None:
        size = f" ({resource.size_text})" if resource.size_text else ""
        self.say(f"fetch {resource.name}{size}" + (f": {resource.what}" if resource.what else ""))
        if resource.licence:
            self.say(f"  licence: {resource.licence}")
        if resource.terms:
            self.say(f"  NOTE: {resource.terms}")
        if resource.citation:
            self.say(f"  cite: {resource.citation}")

    def _record(self, resource: Resource, slot: Slot, found: str, url: str, **more: Any) -> None:
        previous = slot.record.get("sha256")
        slot.write_record(
            **more,
            url=redact(url),
            sha256=found,
            size=(slot.folder / more.get("file", slot.path.name)).stat().st_size,
            trust="published checksum" if resource.checksum else "first use",
            fetched=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        if resource.checksum:
            self.say(f"  {_algorithm(resource)} as published")
        elif previous and previous != found:
            self.say(f"  sha256 {previous} before, {found} now: the file has changed there")
        elif previous != found:
            self.say(
                f"  sha256 {found}: nobody publishes one, so this first download is trusted and later ones held to it"
            )

    def _by_hand(self, resource: Resource, slot: Slot) -> str:
        size = f" ({resource.size_text})" if resource.size_text else ""
        return f"download {redact(resource.url)}{size} and put it at {slot.path}"

    def _advice(self, error: DownloadError, resource: Resource, slot: Slot) -> str:
        if error.advice:
            return error.advice
        if not error.elsewhere:
            return (
                f"free some or set {CACHE_VARIABLE} to a folder on a larger disk; what has come is kept and continued"
            )
        kept = f"; {human_size(slot.part.stat().st_size)} are kept and continued" if slot.part.exists() else ""
        return f"try again later{kept}, or {self._by_hand(resource, slot)}"

    # -- what is made from it ----------------------------------------------------------------------------------------

    def _make(self, resource: Resource, download: Path, name: str) -> Path:
        assert self.cache is not None
        origin = self.slot(self.entries[resource.from_] if resource.from_ else resource)
        key = "\n".join((origin.folder.name, *resource.members, resource.process))
        slot = Slot(self.cache, f"{_label(resource)}-made", key, name)
        made_of = {"download": origin.record.get("sha256"), "version": PROCESS_VERSION}
        if slot.holds() and slot.record.get("made_of") == made_of:
            return slot.path
        with slot.locked(resource.name, self.say):
            if slot.holds() and slot.record.get("made_of") == made_of:
                return slot.path
            if slot.record and slot.record.get("made_of") == made_of:
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


def _mismatch(resource: Resource, url: str, expected: str, seen: Mapping[str, str]) -> DownloadError:
    """Both hashes, whose they are, and what to do."""
    algorithm, _, wanted = expected.partition(":")
    published = expected == resource.checksum
    return DownloadError(
        f"what {redact(url)} sends has {algorithm} {seen[algorithm]}, should have {wanted} "
        f"({'published' if published else 'recorded at first use'}); nothing was kept",
        advice="it was replaced there, or something on the way changed it; try again, and report it if it stays so"
        if published
        else f"if the file was replaced there, 'grn-prep fetch {resource.name} --refresh' accepts the new one",
    )


def _expected(resource: Resource, slot: Slot) -> str | None:
    """The published checksum, else the one of the first download."""
    recorded = slot.record.get("sha256")
    return resource.checksum or (f"sha256:{recorded}" if recorded else None)


def _algorithm(resource: Resource) -> str:
    return (resource.checksum or "sha256:").partition(":")[0]


def _hash_of(path: Path, resource: Resource) -> str:
    import pooch

    return pooch.file_hash(str(path), alg=_algorithm(resource))


def _agrees(path: Path, sha256: str, resource: Resource) -> bool:
    if resource.sha256:
        return sha256 == resource.sha256
    return not resource.md5 or _hash_of(path, resource) == resource.md5


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Its own messages repeat ours on stderr."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
