"""Writes appear whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from grn_cotrain.errors import UserError
from grn_cotrain.files import (
    atomic_file,
    atomic_folder,
    read_json,
    refuse_input,
    same_place,
    sha256_file,
    staged_files,
    write_json,
    write_text,
)


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
    with pytest.raises(UserError, match=r"--cells-out '.*b\.tsv': is the input itself"):
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
