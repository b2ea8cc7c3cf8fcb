"""Writes appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from grn_cotrain.data.io.write_h5ad import write_h5ad
from grn_cotrain.errors import UserError
from grn_cotrain.files import (
    atomic_file,
    atomic_folder,
    clear_leftovers,
    disk_full_in_one_line,
    read_json,
    refuse_input,
    same_place,
    sha256_file,
    staged_files,
    write_json,
    write_text,
)
from grn_cotrain.strict import check_shape, understood


def break_off(path: Path) -> None:
    """Write something, then fail."""
    path.write_text("half")
    raise ZeroDivisionError


def write_all(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("new")


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "a.txt") as temporary:
        break_off(temporary)
    assert (tmp_path / "a.txt").read_text() == "old"
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.txt", {"x": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_folder_leaves_what_was_there(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "run") as temporary:
            (temporary / content).write_text(content)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["new"]
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "run") as temporary:
        break_off(temporary / "half")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_temporary_files_keep_their_ending_and_lie_beside(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "deep" / "x.h5ad") as temporary:
        assert temporary.suffix == ".h5ad"
        assert temporary.parent == tmp_path / "deep"
    assert (tmp_path / "deep" / "x.h5ad").stat().st_mode & 0o777 == 0o644


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "x")
    for context in (atomic_file(tmp_path / "file" / "y"), atomic_folder(tmp_path / "file" / "y")):
        with pytest.raises(UserError, match=r"cannot be written.*choose another place"), context:
            pass
    with pytest.raises(UserError, match="is a folder; give the name of a file"), atomic_file(tmp_path):
        pass


def test_folders_made_for_a_write_that_failed_are_taken_back(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for context in (atomic_file(tmp_path / "a" / "b" / "x"), atomic_folder(tmp_path / "kept" / "c" / "x")):
        with pytest.raises(ZeroDivisionError), context:
            raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


def test_staged_files_come_together_beside_what_is_there(tmp_path: Path) -> None:
    place = tmp_path / "new" / "out"
    with staged_files(place) as staged:
        (staged / "z.txt").write_text("first")
        (staged / "a.txt").write_text("last")
        assert [path for path in place.iterdir() if path.is_file()] == []
    assert {path.name: path.read_text() for path in place.iterdir()} == {"z.txt": "first", "a.txt": "last"}
    (place / "own.txt").write_text("of the user")
    with pytest.raises(ZeroDivisionError), staged_files(place) as staged:
        break_off(staged / "a.txt")
    (place / "z.folder").mkdir()
    with pytest.raises(UserError, match=r"z\.folder': is a folder"), staged_files(place) as staged:
        write_all(staged, "a.txt", "z.folder")
    with staged_files(place) as staged:
        (staged / "z.txt").write_text("second")
    assert {path.name: path.read_text() for path in place.glob("*.txt")} == {
        "z.txt": "second",
        "a.txt": "last",
        "own.txt": "of the user",
    }
    with pytest.raises(ZeroDivisionError), staged_files(tmp_path / "b" / "c"):
        raise ZeroDivisionError
    assert not (tmp_path / "b").exists()
    for wrong in (place / "a.txt", place / "a.txt" / "deeper"):
        with pytest.raises(UserError, match=r"cannot be written.*choose another place"), staged_files(wrong):
            pytest.fail("the block must not run")


def test_one_place_by_two_names(tmp_path: Path) -> None:
    file, other = tmp_path / "a.tsv", tmp_path / "b.tsv"
    assert same_place(file, tmp_path / "x" / ".." / "a.tsv")  # none of them is there yet
    file.write_text("x")
    assert not same_place(file, other)
    other.hardlink_to(file)
    assert same_place(file, other)
    with pytest.raises(UserError, match=r"cells_out='.*b\.tsv': is the input itself"):
        refuse_input(other, file, option="--cells-out")
    refuse_input(tmp_path / "c.tsv", file)


def test_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, None]})
    assert read_json(tmp_path / "a.json") == {"b": [1, None]}
    (tmp_path / "a.json").write_text('{"b": ')
    with pytest.raises(UserError, match=r"thing '.*a\.json': cannot be read.*damaged"):
        read_json(tmp_path / "a.json", what="thing")
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "none.json")


def test_checksum(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than one block
    (tmp_path / "x").write_bytes(content)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested deeper than 64 levels"),
        ("[" * 65 + "]" * 65, "nested deeper than 64 levels"),
        ('{"a": ' * 5000 + "1" + "}" * 5000, "nested deeper than 64 levels"),
        ("9" * 6000, "a number has 6,000 digits, at most 100 are read"),
        ('{"a": NaN}', "NaN is not a number in JSON"),
        ('{"a": -Infinity}', "-Infinity is not a number in JSON"),
        ('{"a": 1e999}', "number 1e999 is too large"),
        ('{"a": 1, "a": 2}', "key 'a' occurs twice"),
        ('"\\ud800"', "surrogates not allowed"),
        ("", "Expecting value"),
        ("{} {}", "Extra data"),
        ("\ufeff{}", "BOM"),
    ],
)
def test_hostile_json_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    started = time.monotonic()
    with pytest.raises(UserError, match=r"thing '.*a\.json': cannot be read") as caught:
        read_json(tmp_path / "a.json", what="thing")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400
    assert time.monotonic() - started < 2


def test_json_that_is_no_file_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    (tmp_path / "large.json").write_text("[1, 2, 3]")
    monkeypatch.setattr("grn_cotrain.files.MAX_JSON_BYTES", 8)
    for name, message in (
        ("pipe.json", "it is not a regular file"),
        ("loop.json", "Too many levels of symbolic links"),
        ("bytes.json", "'utf-8' codec can't decode"),
        ("large.json", "it has more than 8 bytes"),
        ("", "Is a directory"),
        ("x" * 300, "File name too long"),
        ("a\0b", "null"),
    ):
        with pytest.raises(UserError, match=message):
            read_json(tmp_path / name)


def test_64_levels_and_100_digits_are_read(tmp_path: Path) -> None:
    text = "[" * 64 + "9" * 100 + "]" * 64
    (tmp_path / "a.json").write_text(text)
    assert json.dumps(read_json(tmp_path / "a.json")) == text


def test_a_checked_json_has_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"step": 4, "values": [0.1, None]}, checked=True)
    assert read_json(path) == {"step": 4, "values": [0.1, None]}
    path.write_text(path.read_text().replace("4", "5", 1))
    with pytest.raises(UserError, match="its content does not have its checksum; it is damaged"):
        read_json(path)
    path.write_text('{"step": 5}')  # as versions wrote it that had no checksum
    assert read_json(path) == {"step": 5}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "thing 'a' holds [], not a mapping"),
        ({}, "key 'step' is missing"),
        ({"step": "4"}, "key 'step' holds '4', not int"),
        ({"step": True}, "key 'step' holds True, not int"),
        ({"step": 1.5}, "key 'step' holds 1.5, not int"),
        ({"step": 1, "sums": {"x": 1}}, "key 'sums.x' holds 1, not str"),
        ({"step": 1, "sums": [1]}, "key 'sums' holds [1], not a mapping"),
        ({"step": 1, "values": [1, "x"]}, "key 'values[1]' holds 'x', not float"),
        ({"step": 1, "values": "xy"}, "key 'values' holds 'xy', not a list"),
        ({"step": "9" * 1000}, "999..., not int"),
    ],
)
def test_wrong_types_are_named_by_their_key(value: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_shape(value, {"step": int, "sums?": {str: str}, "values?": [float]}, "thing 'a'")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_right_shape_passes() -> None:
    shape = {"step": int, "sums?": {str: str}, "values?": [float], "flag?": bool, "any?": None}
    check_shape({"step": 1, "sums": None, "values": [1, 2.5], "flag": True, "any": {}, "more": 1}, shape, "x")
    check_shape({"step": 1}, shape, "x")


def test_wrong_content_in_one_line() -> None:
    for error, message in (
        (KeyError("x"), "no key 'x'"),
        (TypeError("not a list"), "not a list"),
        (OverflowError("int too large"), "int too large"),
    ):
        line = rf"^table 'a': cannot be read \({message}\); make it again$"
        with pytest.raises(UserError, match=line), understood("table 'a'", "make it again"):
            raise error
    with pytest.raises(UserError, match=r"^as it was$"), understood("table 'a'", "make it again"):
        raise UserError("as it was")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Every write beyond ``size`` bytes of a file fails in the kernel, also in writers of other languages."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _by_safetensors(path: Path) -> None:
    save_file({"x": torch.zeros(10_000)}, path)


def _by_torch(path: Path) -> None:
    torch.save({"x": torch.zeros(10_000)}, path)


def _by_parquet(path: Path) -> None:
    pd.DataFrame({"x": np.random.default_rng(0).normal(size=10_000)}).to_parquet(path)


def _by_h5ad(path: Path) -> None:
    write_h5ad(anndata.AnnData(np.random.default_rng(0).normal(size=(100, 100))), path)


def _by_numpy(path: Path) -> None:
    np.savez(path, x=np.zeros(10_000))


def _by_text(path: Path) -> None:
    path.write_text("x" * 40_000)


WRITERS = (_by_safetensors, _by_torch, _by_parquet, _by_h5ad, _by_numpy, _by_text)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__[4:])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path, write: Callable[[Path], None]) -> None:
    suffix = {"_by_h5ad": ".h5ad", "_by_numpy": ".npz"}.get(write.__name__, ".x")
    path = tmp_path / f"a{suffix}"
    path.write_text("old")
    for context, target in (
        (atomic_file, lambda temporary: temporary),
        (atomic_folder, lambda temporary: temporary / f"part{suffix}"),
    ):
        place = path if context is atomic_file else tmp_path / "folder"
        line = rf"output '{place}': cannot be written, the disk is full"
        with pytest.raises(UserError, match=line) as caught, files_of_at_most(10_000), context(place) as temporary:
            write(target(temporary))
        assert "\n" not in str(caught.value)
        assert [child.name for child in tmp_path.iterdir()] == [path.name]
        assert path.read_text() == "old"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 576 vs 470"),
    ],
)
def test_a_full_disk_in_the_words_of_each_writer(error: Exception) -> None:
    line = r"output 'a': cannot be written, the disk is full \(.*\); free space"
    with pytest.raises(UserError, match=line), disk_full_in_one_line("a"):
        raise error


def test_other_errors_pass_as_they_are() -> None:
    for error in (OSError(errno.EACCES, "Permission denied"), RuntimeError("shapes differ"), SafetensorError("bad")):
        with pytest.raises(type(error)) as caught, disk_full_in_one_line("a"):
            raise error
        assert caught.value is error


def test_leftovers_of_killed_writes_are_cleared(tmp_path: Path) -> None:
    (tmp_path / "kept.part").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    with atomic_file(tmp_path / "a.json") as temporary:
        names = [temporary.name]
    with atomic_folder(tmp_path / "model") as temporary:
        names.append(temporary.name)
    with staged_files(tmp_path) as temporary:
        names.append(temporary.name)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / names[0]).write_text("half")
    (tmp_path / names[1]).mkdir()
    (tmp_path / names[1] / "weights").write_text("half")
    (tmp_path / names[2]).mkdir()
    before = {path.name for path in tmp_path.rglob("*")}
    assert clear_leftovers(tmp_path, before=time.time() - 60) == [], "these are of the last minute"
    assert {path.name for path in tmp_path.rglob("*")} == before
    assert sorted(path.name for path in clear_leftovers(tmp_path)) == sorted(names)
    assert {path.name for path in tmp_path.rglob("*")} == {"kept.part", ".hidden", "a.json", "model", "deep"}
    assert clear_leftovers(tmp_path / "none") == []


def test_a_folder_lost_between_two_renames_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_folder(tmp_path / "model") as temporary:
        (temporary / "x").write_text("good")
    real, calls = os.replace, []

    def kill(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr("grn_cotrain.files.os.replace", kill)
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "model") as temporary:
        (temporary / "x").write_text("new")
    monkeypatch.undo()
    assert not (tmp_path / "model").exists()
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "x").read_text() == "good"


def test_long_names_and_loops(tmp_path: Path) -> None:
    name = "x" * 250 + ".tsv"
    write_text(tmp_path / name, "whole")
    assert (tmp_path / name).read_text() == "whole"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert not same_place(tmp_path / "loop", tmp_path / name)
    for place in (tmp_path / "loop" / "y", tmp_path / ("x" * 300) / "y"):
        with pytest.raises(UserError, match=r"cannot be written.*choose another place"), atomic_file(place):
            pytest.fail("the block must not run")
