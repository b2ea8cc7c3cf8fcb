"""Writes appear whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file, atomic_folder, read_json, sha256_file, write_json, write_text


def break_off(path: Path) -> None:
    """Write something, then fail."""
    path.write_text("half")
    raise ZeroDivisionError


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
