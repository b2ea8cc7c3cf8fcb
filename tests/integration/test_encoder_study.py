"""The study of encoders end to end on generated data: every row, the record, its section in RESULTS.md."""

from __future__ import annotations

from pathlib import Path

import pytest

import experiments.studies.encoders as study_module
from experiments.encoders import row as row_module
from experiments.encoders.plan import Study, results_of, seconds_of
from experiments.encoders.rows import ARMS, Budget
from experiments.encoders.systems import SYSTEMS
from experiments.encoders.tables import table_of
from experiments.encoders.worlds import WORLDS
from experiments.records import read_records, write_record
from experiments.results import results_text
from grn_cotrain.compare.processes import Job
from grn_cotrain.files import read_json, write_json

SMALL = Budget(steps=3, cells_per_batch=8, search_steps=2, width=16, parameters=8_000, max_tokens=64, bootstrap=20)


def in_this_process(job: Job, environment: dict[str, str]) -> int:
    """What the row's own process would do."""
    return row_module.main([str(job.folder)])


def test_rows_record_and_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds = [WORLDS["simulated"], WORLDS["simulated_probe"]]
    study = Study([SYSTEMS["transformer"]], worlds, [0], SMALL, tmp_path / "out")
    study.run(jobs=1, start=in_this_process)
    rows = results_of(study.row_jobs())
    assert len(rows) == len(worlds) * len(ARMS)
    assert not [row["error"] for row in rows if "error" in row]
    assert {row["cells_seen"] for row in rows} == {24}
    assert len({row["flops_per_cell"] for row in rows if row["spec"]["world"] == "simulated"}) == 1, "same batches"
    assert all(row["flops_per_cell"] > 0 and row["peak_memory_mb"] > 0 for row in rows)
    links = next(row for row in rows if row["spec"]["world"] == "simulated")
    assert 0 <= links["macro_auroc"]["value"] <= 1
    assert set(links["cells"]) == {"joint+no_graph", "gene_mean", "gene_and_cell", "factor_analysis"}
    probe = next(row for row in rows if row["spec"]["world"] == "simulated_probe")
    assert {one["scorer"] for one in probe["probe"]} == {"majority", "cell", "mean"}
    (rate,) = results_of(study.job(row) for row in study.rate_rows())
    assert rate["rate"] in (5e-4, 1e-3, 2e-3, 4e-3)
    assert {row["learning_rate"] for row in rows} == {rate["rate"]}

    ran: list[Job] = []
    study.run(jobs=1, start=lambda job, environment: ran.append(job) or 0)
    assert not ran, "a second call has nothing to do"

    records = tmp_path / "records"
    monkeypatch.setattr(study_module, "write_record", lambda record: write_record(record, records))
    assert study_module.save(study, record=True) == ["encoders_common"]
    assert study_module.save(study, record=True, published=False, tag="long") == ["encoders_common_long"]
    text = results_text(read_records(records))
    section = text.split("## encoders_common\n")[1].split("\n## ")[0]
    for wanted in ("| transformer | no graph |", "| transformer | rewired |", "boosting_all", "factor analysis"):
        assert wanted in section
    assert "logistic regression on PCA" in section
    assert text.split("## encoders_common_long\n")[1].startswith(section.split("\n- ")[0])
    assert "## encoders_own\n\nNo run record yet" in text
    assert read_json(tmp_path / "out" / "study.json", what="study")["rows"]


def test_a_failed_row_keeps_its_error_and_the_others_run(tmp_path: Path) -> None:
    study = Study([SYSTEMS["transformer"]], [WORLDS["simulated_probe"]], [0], SMALL, tmp_path)

    def one_fails(job: Job, environment: dict[str, str]) -> int:
        if "rewired" in job.label:
            (job.folder / "log.txt").write_text("error: the loss is not finite\n")
            return 2
        spec = read_json(job.folder / "spec.json", what="row")
        write_json(job.folder / job.done, {"spec": spec, "rate": 1e-3})
        return 0

    study.run(jobs=1, steps=False, start=one_fails)
    rows = results_of(study.row_jobs())
    assert [row.get("error") for row in rows if row["spec"]["arm"] == "rewired"] == ["error: the loss is not finite"]
    assert sum("error" not in row for row in rows) == 2


def test_estimate_times_every_system_in_every_world(tmp_path: Path) -> None:
    study = Study([SYSTEMS["transformer"]], [WORLDS["simulated"]], [0, 1], SMALL, tmp_path)
    seconds, lines = seconds_of(study)
    assert seconds > 0
    assert lines[0].startswith("transformer: a cell's step simulated")
    assert len(study.rows()) == 2 * len(ARMS)


def test_a_failed_search_is_a_failed_row_and_not_a_gap(tmp_path: Path) -> None:
    study = Study([SYSTEMS["transformer"]], [WORLDS["simulated_probe"]], [0], SMALL, tmp_path)

    def fails(job: Job, environment: dict[str, str]) -> int:
        (job.folder / "log.txt").write_text("error: every rate diverged\n")
        return 2

    study.run(jobs=1, steps=False, start=fails)
    assert study.row_jobs() == []
    rows = study.rows_without_rate()
    assert [row["spec"]["arm"] for row in rows] == list(ARMS)
    assert {row["error"] for row in rows} == {"learning rate: error: every rate diverged"}
    _, table = table_of(rows, [], study.worlds, "common")
    assert [line[0] for line in table if "failed" in line[0]] == ["transformer: failed"] * 3
