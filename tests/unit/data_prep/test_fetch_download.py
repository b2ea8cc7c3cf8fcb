"""Downloads from a server that cuts, refuses, lies and changes its files."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import socket
import threading

import pytest

from data_prep.fetch import download as download_module
from grn_cotrain.errors import UserError
from tests.unit.data_prep.fetch_helpers import BODY, SHA, fetcher, leftovers, resource


def test_good_download_is_recorded_and_used_again_without_asking(server, cache) -> None:
    lines: list[str] = []
    url = server.add("x.h5ad", BODY)
    path = fetcher(lines).fetch(resource(url))
    assert path.read_bytes() == BODY
    assert path.name == "thing.h5ad"
    record = json.loads((path.parent / "lock.json").read_text())
    assert (record["sha256"], record["size"], record["url"], record["trust"]) == (SHA, len(BODY), url, "first use")
    assert leftovers(cache) == ["lock.json", "thing.h5ad"]
    text = "\n".join(lines)
    assert "licence: CC0" in text
    assert "cite: Nobody 2024" in text
    assert SHA in text
    assert "nobody publishes one" in text
    again: list[str] = []
    assert fetcher(again).fetch(resource(url)) == path
    assert len(server.log) == 1
    assert again == []


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_published_checksum_holds(server, cache, algorithm) -> None:
    lines: list[str] = []
    known = {algorithm: hashlib.new(algorithm, BODY).hexdigest()}
    path = fetcher(lines).fetch(resource(server.add("x", BODY), **known))
    assert path.read_bytes() == BODY
    assert any(f"{algorithm} as published" in line for line in lines)
    assert json.loads((path.parent / "lock.json").read_text())["sha256"] == SHA


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_wrong_checksum_leaves_nothing_and_names_both(server, cache, algorithm) -> None:
    wrong = "0" * (64 if algorithm == "sha256" else 32)
    with pytest.raises(UserError) as error:
        fetcher().fetch(resource(server.add("x", BODY), **{algorithm: wrong}))
    assert hashlib.new(algorithm, BODY).hexdigest() in str(error.value)
    assert wrong in str(error.value)
    assert "nothing was kept" in str(error.value)
    assert "try again" in str(error.value)
    assert leftovers(cache) == []


def test_cut_connection_is_resumed_within_the_call(server, cache) -> None:
    lines: list[str] = []
    path = fetcher(lines).fetch(resource(server.add("x", BODY, cuts=[400_000, 300_000])))
    assert path.read_bytes() == BODY
    first, second, third = server.ranges()
    assert first is None
    assert 300_000 < int(second.removeprefix("bytes=").rstrip("-")) <= 400_000
    assert int(third.removeprefix("bytes=").rstrip("-")) > 500_000
    assert server.log[1][1]["if-range"] == '"v1"'
    assert sum("cut" in line for line in lines) == 2
    assert leftovers(cache) == ["lock.json", "thing.h5ad"]


def test_attempts_that_bring_something_do_not_count(server, cache) -> None:
    url = server.add("x", BODY, cuts=[200_000] * 4)
    assert fetcher(options={"attempts": 2}).fetch(resource(url)).read_bytes() == BODY
    assert len(server.log) == 5


def test_another_part_than_the_one_asked_for_is_not_appended(server, cache) -> None:
    url = server.add("x", BODY, cuts=[400_000], range_shift=7)
    assert fetcher().fetch(resource(url)).read_bytes() == BODY
    assert [asked is None for asked in server.ranges()] == [True, False, True]


def test_content_packed_for_the_way_is_unpacked_and_never_resumed(server, cache) -> None:
    packed = gzip.compress(BODY)
    url = server.add("x", packed, headers={"Content-Encoding": "gzip"}, cuts=[400_000])
    assert fetcher().fetch(resource(url)).read_bytes() == BODY
    assert server.ranges() == [None, None]


def test_cut_connection_is_resumed_by_the_next_call(server, cache) -> None:
    url = server.add("x", BODY, cuts=[400_000])
    with pytest.raises(UserError, match=r"cut.*kept and continued.*download .*/x and put it at .*thing\.h5ad"):
        fetcher(options={"attempts": 1}).fetch(resource(url))
    assert leftovers(cache) == [".thing.h5ad.part", ".thing.h5ad.part.json"]
    path = fetcher().fetch(resource(url))
    assert path.read_bytes() == BODY
    assert server.ranges()[1].startswith("bytes=")
    assert leftovers(cache) == ["lock.json", "thing.h5ad"]


def test_last_modified_serves_where_there_is_no_etag(server, cache) -> None:
    stamp = "Fri, 02 Oct 2026 13:44:59 GMT"
    path = fetcher().fetch(resource(server.add("x", BODY, etag="", modified=stamp, cuts=[500_000])))
    assert path.read_bytes() == BODY
    assert server.log[1][1]["if-range"] == stamp
    assert server.ranges()[1] is not None


def test_server_without_ranges_starts_anew(server, cache) -> None:
    lines: list[str] = []
    path = fetcher(lines).fetch(resource(server.add("x", BODY, ranges=False, cuts=[400_000])))
    assert path.read_bytes() == BODY
    assert server.ranges()[1] is not None
    assert any("from its start" in line for line in lines)


def test_file_changed_between_the_parts_is_not_glued(server, cache) -> None:
    url = server.add("x", BODY, cuts=[400_000])
    with pytest.raises(UserError):
        fetcher(options={"attempts": 1}).fetch(resource(url))
    other = BODY[::-1]
    server.add("x", other, etag='"v2"')
    assert fetcher().fetch(resource(url)).read_bytes() == other
    assert server.log[1][1]["if-range"] == '"v1"'


def test_without_validator_or_checksum_the_part_is_not_trusted(server, cache) -> None:
    lines: list[str] = []
    path = fetcher(lines).fetch(resource(server.add("x", BODY, etag="", cuts=[400_000])))
    assert path.read_bytes() == BODY
    assert server.ranges() == [None, None]
    assert any("cannot be trusted" in line for line in lines)


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_with_a_checksum_it_is_resumed_even_so(server, cache, etag) -> None:
    path = fetcher().fetch(resource(server.add("x", BODY, etag=etag, cuts=[400_000]), sha256=SHA))
    assert path.read_bytes() == BODY
    assert server.ranges()[1] is not None
    assert "if-range" not in server.log[1][1]


def test_part_longer_than_the_file_now_is_dropped(server, cache) -> None:
    url = server.add("x", BODY, cuts=[900_000])
    with pytest.raises(UserError):
        fetcher(options={"attempts": 1}).fetch(resource(url, sha256=SHA))
    short = BODY[:100]
    server.add("x", short)
    known = hashlib.sha256(short).hexdigest()
    assert fetcher().fetch(resource(url, sha256=known)).read_bytes() == short


def test_part_of_another_address_is_dropped(server, cache) -> None:
    mirror = server.add("mirror", BODY)
    url = server.add("x", BODY[::-1], cuts=[400_000])
    entry = resource(url, sha256=SHA, mirrors=(mirror,))
    assert fetcher(options={"attempts": 1}).fetch(entry).read_bytes() == BODY
    assert server.log[-1] == ("/mirror", server.log[-1][1])
    assert server.ranges() == [None, None]


@pytest.mark.parametrize(("status", "text"), [(404, "not there"), (403, "refuses"), (401, "login"), (410, "Gone")])
def test_final_refusals_are_not_repeated(server, cache, status, text) -> None:
    url = server.add("x", BODY, statuses=[status] * 9)
    with pytest.raises(UserError, match=rf"^thing: 127\.0\.0\.1 answers HTTP {status}.*{text}"):
        fetcher().fetch(resource(url))
    assert len(server.log) == 1
    assert leftovers(cache) == []


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_passing_refusals_are_tried_again(server, cache, status) -> None:
    lines: list[str] = []
    path = fetcher(lines).fetch(resource(server.add("x", BODY, statuses=[status, status])))
    assert path.read_bytes() == BODY
    assert len(server.log) == 3
    assert sum(f"HTTP {status}" in line and "again in" in line for line in lines) == 2


def test_it_gives_up_after_so_many_failures_in_a_row(server, cache) -> None:
    with pytest.raises(UserError, match=r"HTTP 500.*3 attempts.*download .* and put it at"):
        fetcher().fetch(resource(server.add("x", BODY, statuses=[500] * 9)))
    assert len(server.log) == 3


def test_waits_grow_and_obey_the_server(server, cache, monkeypatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(download_module, "sleep", waits.append)
    url = server.add("x", BODY, statuses=[500, 500, 503], headers={"Retry-After": "7"})
    server.files["/x"].headers = {}
    options = {"attempts": 9, "backoff": 1.0}
    assert fetcher(options=options).fetch(resource(url)).read_bytes() == BODY
    assert waits == [1.0, 2.0, 4.0]
    waits.clear()
    server.add("y", BODY, statuses=[503], headers={"Retry-After": "7"})
    fetcher(options=options).fetch(resource(server.url("y"), name="other"))
    assert waits == [7.0]


def test_a_silent_server_is_not_waited_for_forever(server, cache) -> None:
    lines: list[str] = []
    url = server.add("x", BODY, delay=1.0)
    with pytest.raises(UserError, match="does not answer"):
        fetcher(lines, options={"attempts": 2, "timeout": (0.2, 0.2)}).fetch(resource(url))
    assert any("again" in line for line in lines)


def test_a_server_that_falls_silent_midway_is_resumed(server, cache, monkeypatch) -> None:
    gate = threading.Event()
    url = server.add("x", BODY, gate=gate, pause_after=500_000)
    waits: list[float] = []

    def sleep(seconds: float) -> None:  # the second attempt meets a server that has come to its senses
        waits.append(seconds)
        server.files["/x"].gate = None

    monkeypatch.setattr(download_module, "sleep", sleep)
    path = fetcher(options={"timeout": (0.5, 0.5)}).fetch(resource(url))
    gate.set()
    assert path.read_bytes() == BODY
    assert len(waits) == 1
    assert server.ranges()[1] is not None


def test_nobody_there(cache) -> None:
    with pytest.raises(UserError, match=r"cannot be reached \(.*refused.*\).*download http://127\.0\.0\.1:9/x.*put it"):
        fetcher().fetch(resource("http://127.0.0.1:9/x"))


def test_no_network_is_told_soon(cache, monkeypatch) -> None:
    def nowhere(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    lines: list[str] = []
    with pytest.raises(
        UserError, match=r"far\.away is not found: no network.*2 attempts.*download https://far\.away/x"
    ):
        fetcher(lines, options={"attempts": 9}).fetch(resource("https://far.away/x"))
    assert sum("again in" in line for line in lines) == 1


def test_empty_answer(server, cache) -> None:
    with pytest.raises(UserError, match="empty file"):
        fetcher().fetch(resource(server.add("x", b"")))
    assert leftovers(cache) == []


def test_answer_for_robots(server, cache) -> None:
    with pytest.raises(UserError, match=r"HTTP 202.*robots"):
        fetcher().fetch(resource(server.add("x", BODY, statuses=[202])))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"anything", "text/html; charset=utf-8"),
        (b"\n<!DOCTYPE html><html><title>Log in</title>", "application/octet-stream"),
        (b"<!-- hi --> <HTML lang='en'>", "text/plain"),
    ],
)
def test_login_page_is_no_file(server, cache, body, kind) -> None:
    with pytest.raises(UserError, match="a web page"):
        fetcher().fetch(resource(server.add("x", body, content_type=kind)))
    assert leftovers(cache) == []


def test_file_without_a_length_is_taken_and_said(server, cache) -> None:
    lines: list[str] = []
    path = fetcher(lines).fetch(resource(server.add("x", BODY, length=False)))
    assert path.read_bytes() == BODY
    assert any("does not report the length" in line for line in lines)


def test_disk_too_small_is_said_before_the_first_byte(server, cache, monkeypatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match=r"needs 1\.0 MB .*1\.0 kB are free; free some"):
        fetcher().fetch(resource(server.add("x", BODY)))
    assert leftovers(cache) == []


def test_disk_full_midway_keeps_what_has_come(server, cache, monkeypatch) -> None:
    url = server.add("x", BODY)
    write = download_module.ResumingDownloader.write

    def full(self, chunk: bytes) -> None:
        left = 300_000 - self._size
        write(self, chunk[:left])
        if left < len(chunk):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download_module.ResumingDownloader, "write", full)
    with pytest.raises(UserError, match=r"no room is left .* after 300 kB; free some .*GRN_COTRAIN_CACHE.*continued"):
        fetcher().fetch(resource(url))
    assert len(server.log) == 1
    monkeypatch.undo()
    again = fetcher(cache=cache).fetch(resource(url))
    assert again.read_bytes() == BODY
    assert server.ranges()[1] == "bytes=300000-"


def test_https_never_falls_back_to_http(server, cache, monkeypatch) -> None:
    import requests

    class Answer:
        status_code, reason, url = 200, "OK", "http://elsewhere/x"
        headers: dict[str, str] = {}
        is_redirect = False

    monkeypatch.setattr(requests, "get", lambda url, **options: options["hooks"]["response"](Answer()))
    with pytest.raises(UserError, match="from https to an unprotected address"):
        fetcher().fetch(resource("https://safe/x"))


def test_passwords_stay_out_of_messages_and_records(server, cache) -> None:
    lines: list[str] = []
    secret = server.add("x", BODY).replace("127.0.0.1", "me:secret@127.0.0.1")
    path = fetcher(lines).fetch(resource(secret))
    assert "secret" not in "\n".join(lines) + (path.parent / "lock.json").read_text()
    assert server.log[0][1]["authorization"].startswith("Basic ")
