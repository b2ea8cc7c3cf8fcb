"""The cache: used again, mended, held to the first download, shared by processes, filled by hand."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from data_prep.fetch import Fetcher, load_catalogue
from grn_cotrain.errors import UserError
from tests.unit.data_prep.fetch_helpers import BODY, QUICK, SHA, fetcher, leftovers, resource


def test_killed_midway_the_next_process_goes_on(server, cache, tmp_path, catalogue) -> None:
    gate = threading.Event()
    url = server.add("x.h5ad", BODY, gate=gate, pause_after=600_000)
    own = catalogue({"name": "thing", "url": url, "sha256": SHA})
    command = [sys.executable, "-c", "import typer; from data_prep.cli_fetch import fetch; typer.run(fetch)"]
    command += ["thing", "--catalogue", str(own)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    part = None
    for _ in range(600):
        part = next(cache.rglob("*.part"), None) if cache.exists() else None
        if part is not None and part.stat().st_size > 300_000:
            break
        threading.Event().wait(0.05)
    assert part is not None
    child.send_signal(signal.SIGKILL)
    child.communicate()
    gate.set()
    server.files["/x.h5ad"].gate = None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told, following = done.stdout.strip().splitlines()[-2:]
    assert following.startswith("next: grn-prep counts thing")
    path = Path(told.removeprefix("thing: "))
    assert path.read_bytes() == BODY
    assert server.ranges()[1] is not None
    assert leftovers(cache) == ["lock.json", "x.h5ad"]


def test_two_processes_bring_it_once(server, cache) -> None:
    gate = threading.Event()
    url = server.add("x", BODY, gate=gate, pause_after=1000)
    lines: list[str] = []
    waiting = threading.Event()
    found: list[Path] = []

    def hear(line: str) -> None:
        lines.append(line)
        if "is fetching it; waiting" in line:
            waiting.set()

    first = threading.Thread(target=lambda: found.append(fetcher(options={"timeout": (9, 9)}).fetch(resource(url))))
    first.start()
    while not server.log:
        threading.Event().wait(0.01)
    second = threading.Thread(target=lambda: found.append(Fetcher({}, say=hear, options=QUICK).fetch(resource(url))))
    second.start()
    assert waiting.wait(10)
    gate.set()
    first.join(10)
    second.join(10)
    assert len(server.log) == 1
    assert found[0] == found[1]
    assert found[0].read_bytes() == BODY


def test_damage_in_the_cache_is_found_and_mended(server, cache) -> None:
    url = server.add("x", BODY)
    path = fetcher().fetch(resource(url))
    path.write_bytes(BODY[:-1] + b"?")
    lines: list[str] = []
    assert fetcher(lines).fetch(resource(url)).read_bytes() == BODY
    assert any("damaged" in line and "fetched again" in line for line in lines)
    assert len(server.log) == 2


def test_later_downloads_are_held_to_the_first_one(server, cache) -> None:
    url = server.add("x", BODY)
    path = fetcher().fetch(resource(url))
    path.unlink()
    other = BODY[::-1]
    server.add("x", other, etag='"v2"')
    with pytest.raises(UserError) as error:
        fetcher().fetch(resource(url))
    new = hashlib.sha256(other).hexdigest()
    assert SHA in str(error.value)
    assert new in str(error.value)
    assert "recorded at first use" in str(error.value)
    assert "--refresh" in str(error.value)
    assert not path.exists()
    lines: list[str] = []
    assert fetcher(lines, refresh=True).fetch(resource(url)).read_bytes() == other
    assert any(SHA in line and new in line for line in lines)
    assert fetcher().fetch(resource(url)).read_bytes() == other


def test_refresh_that_fails_keeps_what_there_was(server, cache) -> None:
    url = server.add("x", BODY)
    path = fetcher().fetch(resource(url))
    server.files["/x"].statuses = [404]
    with pytest.raises(UserError, match="404"):
        fetcher(refresh=True).fetch(resource(url))
    assert fetcher(offline=True).fetch(resource(url)) == path


def test_refresh_does_not_override_a_published_checksum(server, cache) -> None:
    url = server.add("x", BODY)
    path = fetcher().fetch(resource(url, sha256=SHA))
    server.add("x", BODY[::-1])
    with pytest.raises(UserError, match="published"):
        fetcher(refresh=True).fetch(resource(url, sha256=SHA))
    assert path.read_bytes() == BODY


def test_offline_says_what_from_where_to_where(server, cache) -> None:
    url = server.add("x", BODY)
    entry = resource(url, size="~12 MB", sha256=SHA)
    with pytest.raises(UserError) as error:
        fetcher(offline=True).fetch(entry)
    place = Fetcher({}).slot(entry).path
    assert f"download {url} (~12 MB) and put it at {place}" in str(error.value)
    assert server.log == []
    place.write_bytes(b"another file")
    with pytest.raises(UserError, match=f"has sha256 .*should have {SHA}"):
        fetcher(offline=True).fetch(entry)
    place.write_bytes(BODY)
    lines: list[str] = []
    assert fetcher(lines, offline=True).fetch(entry) == place
    assert any("put there by hand" in line for line in lines)
    assert fetcher(offline=True).fetch(entry) == place
    assert server.log == []


def test_offline_by_environment(server, cache, monkeypatch) -> None:
    monkeypatch.setenv("GRN_COTRAIN_OFFLINE", "1")
    with pytest.raises(UserError, match="no network is to be used"):
        fetcher().fetch(resource(server.add("x", BODY)))
    assert server.log == []


def test_mirror_takes_over(server, cache) -> None:
    lines: list[str] = []
    bad = server.add("bad", BODY[::-1])
    gone = server.url("gone")
    good = server.add("good", BODY)
    assert fetcher(lines).fetch(resource(gone, mirrors=(bad, good), sha256=SHA)).read_bytes() == BODY
    assert [path for path, _ in server.log] == ["/gone", "/bad", "/good"]
    assert sum("next from" in line for line in lines) == 2


def test_a_served_cache_is_a_mirror(server, cache, tmp_path) -> None:
    entry = resource("http://127.0.0.1:9/far/away.h5ad", sha256=SHA)
    place = Fetcher({}).slot(entry).path
    server.add(f"labs/{place.parent.name}/{place.name}", BODY)
    path = fetcher(base_url=server.url("labs/")).fetch(entry)
    assert path == place
    assert path.read_bytes() == BODY
    with pytest.raises(UserError, match="base_url='ftp"):
        fetcher(base_url="ftp://x")


def test_the_downloads_of_the_shipped_catalogue_have_places_of_their_own(cache) -> None:
    entries, _ = load_catalogue()
    maker = Fetcher(entries)
    places = [maker.slot(entry).path for entry in entries.values() if entry.url]
    assert len(set(places)) == len(places)


def test_cache_that_cannot_be_written(server, tmp_path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(UserError, match="GRN_COTRAIN_CACHE"):
        fetcher(cache=blocked).fetch(resource(server.add("x", BODY)))
