"""Run records and the documents made from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.records import make_record, read_records, tagged, write_record
from experiments.results import ROOT, component_table, fill, link_table, results_text, write_documents
from grn_cotrain.cli import registries
from grn_cotrain.compare.table import tabulate
from grn_cotrain.errors import UserError
from grn_cotrain.files import write_json
from tests.unit.compare import tables

VALUES = {
    "joint": ("model", 0.8),
    "c1": ("control", 0.7),
    "c2": ("control", 0.6),
    "c3": ("control", 0.55),
    "c4": ("control", 0.5),
}


@pytest.fixture
def links(tmp_path: Path) -> Path:
    tables.link_table(VALUES, num_tfs=5).write(tmp_path / "links")
    return tmp_path / "links"


def test_a_link_record_holds_what_the_table_says(links: Path, tmp_path: Path) -> None:
    record = make_record(links, "beeline_hesc_published", command="grn-cotrain evaluate links RUN")
    path = write_record(record, tmp_path / "records")
    (again,) = read_records(path.parent)
    assert again == record
    assert record["kind"] == "links"
    assert record["commit"]
    text = link_table(again)
    assert "| **joint** | 0.800 [0.780, 0.820] |" in text
    assert "c3" in text
    assert "c4" not in text
    assert "scRegNet" in text
    assert "0.890" in text


def test_results_tell_command_commit_and_warnings(links: Path) -> None:
    text = results_text([make_record(links, "small", command="the command")])
    assert "`the command`" in text
    assert "so few TFs support no claim" in text
    assert "commit " in text


def test_comparisons_and_benchmarks_have_sections(tmp_path: Path) -> None:
    results = [tables.cell_result("joint", 0, 0.7), tables.cell_result("link_only", 0, None)]
    tabulate(results, {"s": tables.link_table(VALUES)}).write(tmp_path / "compare")
    rows = [{"name": "peer", "seconds": 1.5, "ratio": 12.0, "note": "equal to 1e-6"}]
    write_json(tmp_path / "bench" / "b06.json", {"id": "B6", "title": "t", "rows": rows})
    records = [
        make_record(tmp_path / "compare", "grid", command="a"),
        make_record(tmp_path / "bench", "bench", command="b"),
    ]
    text = results_text(records)
    assert "killed by signal 9" in text
    assert "| B6 | peer | 1.5000 | 12.0x | equal to 1e-6 |" in text


def test_wrong_folders_and_names(tmp_path: Path, links: Path) -> None:
    with pytest.raises(UserError, match=r"holds no compare\.json"):
        make_record(tmp_path, "x")
    with pytest.raises(UserError, match=r"name='\.\./x'"):
        make_record(links, "../x")


def test_readme_parts_are_replaced_between_their_markers(tmp_path: Path, links: Path) -> None:
    root = tmp_path / "root"
    markers = ("components", "results:links", "results:compare", "results:encoders")
    root.mkdir()
    (root / "README.md").write_text("top\n" + "".join(f"<!-- {m} -->\nold\n<!-- /{m} -->\n" for m in markers) + "end\n")
    write_record(make_record(links, "small", command="c"), tmp_path / "records")
    write_documents(root=root, records=tmp_path / "records")
    once = (root / "README.md").read_text()
    assert "old" not in once
    assert once.startswith("top\n")
    assert once.endswith("end\n")
    assert "**joint**" in once
    assert "No run record yet." in once
    write_documents(root=root, records=tmp_path / "records")
    assert (root / "README.md").read_text() == once
    assert "## small" in (root / "experiments" / "RESULTS.md").read_text()


def test_missing_marker_is_an_error() -> None:
    with pytest.raises(UserError, match="no markers <!-- components -->"):
        fill("text", "components", "x")


def test_every_component_is_in_the_table() -> None:
    text = component_table()
    for registry in registries().values():
        assert registry.names()
        for name in registry.names():
            assert f"`{name}`" in text


def test_the_documents_are_up_to_date() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert fill(readme, "components", component_table()) == readme, "run `python -m experiments results`"
    generated = (ROOT / "experiments" / "RESULTS.md").read_text(encoding="utf-8")
    assert generated == results_text(read_records()), "run `python -m experiments results`"


def test_another_budget_is_another_record() -> None:
    assert tagged("encoders_common", "") == "encoders_common"
    assert tagged("encoders_common", "long") == "encoders_common_long"
    with pytest.raises(UserError, match="tag='a b': not of lower-case letters"):
        tagged("decoders", "a b")
