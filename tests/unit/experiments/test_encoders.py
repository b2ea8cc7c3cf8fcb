"""The study of encoders: sizes, genes, recipes, tables, and the decoders' quality gate."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.encoders.designs import shape_flops
from experiments.encoders.full_transcriptome import full_cells
from experiments.encoders.gate import (
    PUBLISHED_FLOPS,
    TOLERANCE,
    claims,
    gate,
    gate_note,
    replicates_of,
    without_replicates,
)
from experiments.encoders.plan import Study
from experiments.encoders.row import cells_seen, mean_states
from experiments.encoders.rows import ARMS, Budget, Row, row_job, row_recipe, row_spec
from experiments.encoders.systems import SYSTEMS, System, available, chosen, encoder_parameters, sized
from experiments.encoders.tables import figure, published_table, table_of
from experiments.encoders.update import recorded_rates, updated
from experiments.encoders.worlds import WORLDS, chosen_genes, find_worlds, probe_split
from experiments.records import make_study_record, read_records, withdrawn, write_record
from experiments.results import STUDIES, results_text, short_encoders
from experiments.studies.ablations import ABLATIONS, ablation_table
from experiments.studies.decoders import curve_table
from grn_cotrain.config import to_dict
from grn_cotrain.data.grn import GRN, EdgeReport
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.errors import UserError
from grn_cotrain.objectives import OBJECTIVES
from grn_cotrain.recipe import TokenConfig
from tests.cases.toy_cells import toy_cells

SMALL = Budget(steps=3, cells_per_batch=4, search_steps=2, width=16, parameters=20_000, max_tokens=64, bootstrap=20)


def test_depth_is_the_one_nearest_to_the_wanted_size() -> None:
    system = SYSTEMS["transformer"]
    options, count = sized(system, width=32, wanted=50_000, num_genes=40)
    counts = {
        depth: encoder_parameters("transformer", {"num_layers": depth}, width=32, num_bins=16, num_genes=40)
        for depth in range(1, 9)
    }
    best = min(counts, key=lambda depth: abs(counts[depth] - 50_000))
    assert options["num_layers"] == best
    assert count == counts[best]
    assert (
        counts[2] - counts[1] == 12 * 32 * 32 + 13 * 32
    )  # four maps of D x D, two of D x 4D, their offsets, two norms


@pytest.mark.parametrize("name", available())
def test_every_system_comes_near_a_million(name: str) -> None:
    bins = int(SYSTEMS[name].tokens.get("num_bins", 16))
    _, count = sized(SYSTEMS[name], width=128, wanted=1_000_000, num_genes=2000, num_bins=bins)
    assert 0.85e6 < count < 1.15e6


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'scgpt'"):
        chosen("scgtp")
    with pytest.raises(UserError, match="worlds='kan'"):
        find_worlds("kan")
    assert [world.name for world in find_worlds("all")] == ["kang", "hesc", "mixology", "pbmc3k"]


def test_genes_are_tfs_then_common_targets_then_variable_ones() -> None:
    cells = toy_cells(60, 40, spike_ins=0, density=0.5)
    names = list(cells.vocab.symbols)
    edges = pd.DataFrame({"source": [names[0]] * 6 + [names[1]] * 6, "target": names[2:14], "sign": 1, "weight": 1.0})
    network = GRN.from_symbols(edges.assign(evidence=""), cells.vocab, EdgeReport())
    kept, share = chosen_genes(cells, network, max_genes=20)
    assert 18 <= len(kept) <= 20, "variable genes that tie come together or not at all"
    assert set(range(14)) <= set(kept.tolist())
    assert share == 0.05
    everything, none = chosen_genes(cells, network, max_genes=40)
    assert len(everything) == 40
    assert none == 0
    few, share = chosen_genes(cells, network, max_genes=6)
    assert 4 <= len(few) <= 6
    assert {0, 1} <= set(few.tolist())
    assert share > 0.3
    with pytest.raises(UserError, match="2 TFs are more than 1 genes"):
        chosen_genes(cells, network, max_genes=1)


def test_judged_cells_of_real_worlds_follow_their_rule() -> None:
    obs = pd.DataFrame({"batch": ["sc_dropseq", "other"] * 5, "cell_line": list("aabbccddee")})
    probe = WORLDS["mixology"].probe
    assert probe is not None
    split = probe_split(probe, obs)
    assert split.test_C.tolist() == [0, 2, 4, 6, 8]


def _recipe(name: str, arm: str = "no graph", **changes: Any) -> dict[str, Any]:
    row = Row("links", SYSTEMS[name], WORLDS["simulated"], arm, **changes)
    return to_dict(row_recipe(row, Path("prep"), SMALL, num_genes=80, rate=1e-3))


def test_rows_differ_in_what_they_name_and_nothing_else() -> None:
    base = _recipe("transformer")
    for arm, messages in ARMS.items():
        other = _recipe("transformer", arm)
        assert other["graph"]["messages"] == messages
        other["graph"], other["name"] = base["graph"], base["name"]
        assert other == base
    encoder = _recipe("scmbert")
    assert encoder["train"] == base["train"]
    for part in ("table", "graph_encoder", "coupling", "link_decoder", "width"):
        assert encoder["model"][part] == base["model"][part]
    assert base["train"]["validate_every"] == base["train"]["max_steps"], "no choice of checkpoint"


@pytest.mark.parametrize("name", [name for name in available() if SYSTEMS[name].reads_zeros])
def test_readers_of_zeros_see_the_same_cells_in_the_same_batches(name: str) -> None:
    assert _recipe(name)["train"]["cells_per_batch"] == SMALL.cells_per_batch
    tokens = _recipe(name)["train"]["tokens_per_batch"]
    assert tokens >= SMALL.cells_per_batch * (1 + 80)


def test_a_row_has_a_folder_of_its_own(tmp_path: Path) -> None:
    row = Row("links", SYSTEMS["transformer"], WORLDS["simulated"])

    def folder(row: Row, budget: Budget = SMALL, data: str = "a", rate: float = 1e-3) -> Path:
        return row_job(row, tmp_path, budget, num_genes=80, data=data, rate=rate).folder

    folders = {
        folder(row),
        folder(replace(row, seed=1)),
        folder(replace(row, arm="graph")),
        folder(row, replace(SMALL, steps=4)),
        folder(row, data="b"),
        folder(row, rate=2e-3),
    }
    assert len(folders) == 6
    assert folder(row) in folders


def test_a_system_without_an_objective_of_its_own_is_refused() -> None:
    with pytest.raises(UserError, match="has none of its own"):
        _recipe("transformer", objective="own")


def test_cells_seen_counts_short_batches() -> None:
    row = Row("links", SYSTEMS["transformer"], WORLDS["simulated"])
    recipe = row_recipe(row, Path("prep"), replace(SMALL, steps=5), num_genes=80, rate=1e-3)
    assert cells_seen(recipe, 10) == 4 + 4 + 2 + 4 + 4


def test_mean_state_leaves_zeros_and_cls_out() -> None:
    cells = toy_cells(3, 20)
    batch = Tokenizer(cells, TokenConfig(zeros_per_cell=4)).batch(np.arange(3)).pack()
    tokens_TD = torch.randn(batch.num_tokens, 5, generator=torch.Generator().manual_seed(0))
    found = mean_states(batch, tokens_TD)
    ends = batch.cu_lens.tolist()
    for cell in range(3):
        part = slice(ends[cell], ends[cell + 1])
        wanted = tokens_TD[part][batch.values_T[part] != 0].mean(0)
        torch.testing.assert_close(found[cell], wanted)


def test_generated_transcriptome_has_the_stated_shape() -> None:
    cells = full_cells(3, num_genes=200, density=0.1)
    assert np.diff(cells.values_CG.indptr).tolist() == [20, 20, 20]


# ---- tables ----------------------------------------------------------------------------------------------------------


def _found(system: str, arm: str, world: str, value: float, **more: Any) -> dict[str, Any]:
    cells = {"joint": {"value": value}, "gene_mean": {"value": 0.0}}
    probe = [
        {"scorer": "cell", "metric": "accuracy", "value": value},
        {"scorer": "cell", "metric": "macro_f1", "value": 0.5},
    ]
    return {
        "spec": {"system": system, "arm": arm, "world": world, "objective": "common", "name": f"{system} {world}"},
        "cells": cells,
        "macro_auroc": {"value": 0.6},
        "probe": probe,
        "parameters": {"cell_encoder": 1000, "table": 5},
        "learning_rate": 1e-3,
        "seconds_per_1000_cells": 2.0,
        "peak_memory_mb": 100.0,
        "flops_per_cell": 1e9,
        **more,
    }


def test_table_has_means_controls_and_failures() -> None:
    worlds = [WORLDS["simulated"], WORLDS["simulated_probe"]]
    rows = [
        _found("transformer", "graph", "simulated", 0.2),
        _found("transformer", "graph", "simulated", 0.4),
        _found("transformer", "graph", "simulated_probe", 0.9),
        {"spec": {"system": "scgpt", "arm": "graph", "world": "simulated", "objective": "common"}, "error": "boom"},
    ]
    controls = [
        {
            "spec": {"world": "simulated"},
            "cells": {"gene_mean": {"value": 0.0}},
            "links": {"boosting_all": {"value": 0.7}},
        }
    ]
    header, table = table_of(rows, controls, worlds, "common")
    assert all(len(line) == len(header) for line in table)
    line = next(line for line in table if line[0] == "transformer")
    assert line[header.index("simulated R2")] == "0.300"
    assert line[header.index("simulated_probe accuracy")] == "0.900"
    assert line[header.index("parameters")] == "1,000"
    assert next(line for line in table if line[0] == "scgpt: failed")[-1] == "boom"
    assert next(line for line in table if line[0] == "boosting_all")[header.index("simulated links")] == "0.700"
    assert figure(rows[0], "mean:macro_f1") is None


def _recorded(*rows: dict[str, Any]) -> dict[str, Any]:
    control = {"spec": {"world": "simulated"}, "links": {"boosting_all": {"value": 0.7}}}
    found = [{**row, "spec": {**row["spec"], "seed": 0}} for row in rows]
    return {
        "name": "x",
        "commit": "abc",
        "environment": {"processor": "P9"},
        "body": {"rows": found, "controls": [control], "notes": ["first"]},
    }


def test_rows_of_a_record_are_replaced_or_taken_out_and_the_others_stay() -> None:
    record = _recorded(*(_found(system, "graph", "simulated", 0.2) for system in ("scgpt", "scmbert", "transformer")))
    again = _found("scgpt", "graph", "simulated", 0.5) | {"seconds_per_1000_cells": 999.0, "peak_memory_mb": 999.0}
    again["spec"]["seed"] = 0
    missing = {**_found("scmbert", "graph", "simulated", 0.0)["spec"], "seed": 0}
    body = updated(record, [again, {"spec": missing, "error": "not run"}], "common", "bins are read otherwise")
    column = body["header"].index("simulated R2")
    shown = {line[0]: line[column] for line in body["table"]}
    assert (shown["scgpt"], shown["transformer"], "scmbert" in shown) == ("0.500", "0.200", False)
    assert [row["spec"]["system"] for row in body["rows"]] == ["scgpt", "transformer"]
    assert body["rows"][0]["seconds_per_1000_cells"] == record["body"]["rows"][0]["seconds_per_1000_cells"]
    first, second, third, last = body["notes"]
    assert first == "first"
    assert second.startswith("bins are read otherwise: trained again")
    assert "scgpt simulated;" in second
    assert third == "bins are read otherwise: taken out, since not trained again: scmbert simulated"
    assert last == "all other rows are those of the table of commit abc, trained on P9"
    assert record["body"]["notes"] == ["first"], "the record itself is not changed"


def test_rates_come_from_the_record_and_need_no_search(tmp_path: Path) -> None:
    rates = recorded_rates(["encoders_own"])
    assert rates["scgpt", "own"] in Budget().rates
    systems = [SYSTEMS["scgpt"], SYSTEMS["transformer"]]
    study = Study(systems, [WORLDS["simulated"]], [0], SMALL, tmp_path, common=False, known_rates=rates)
    assert study.rate_rows() == []
    assert [(row.system.name, row.objective) for row in study.rows()] == [("scgpt", "own")]
    assert study.found() == [{"spec": row_spec(study.rows()[0]), "error": "not run"}]
    with pytest.raises(UserError, match="update: there is no record 'encoders_else'"):
        recorded_rates(["encoders_else"])


def test_a_row_is_withdrawn_with_its_reason() -> None:
    record = {
        "name": "x",
        "body": {
            "table": [["task", "classification", "1"], ["mask share", "15%", "2"], ["", "gene mean", ""]],
            "rows": [{"spec": {"label": "task classification"}}, {"spec": {"label": "mask share 15 percent"}}],
            "notes": ["a"],
        },
    }
    left = withdrawn(record, "mask share: 15%", "it was read otherwise")["body"]
    assert [line[1] for line in left["table"]] == ["classification", "gene mean"]
    assert [row["spec"]["label"] for row in left["rows"]] == ["task classification"]
    assert left["notes"] == ["a", "withdrawn: mask share: 15%: it was read otherwise"]
    with pytest.raises(UserError, match=r"row='task: else': not in record 'x'; choose from task: classification"):
        withdrawn(record, "task: else", "")


def test_published_sizes_keep_their_failures() -> None:
    step = {
        "spec": {"size": "big", "name": "one step"},
        "parameters": {"cell_encoder": 10, "table": 5},
        "num_genes": 19264,
        "tokens_per_cell": 3.0,
        "seconds_per_step": 1.0,
        "peak_memory_mb": 5.0,
        "flops_per_cell": 1e9,
    }
    header, table = published_table([step, {"spec": {"name": "one step, huge"}, "error": "killed by signal 9"}])
    assert [line[0] for line in table] == ["big", "one step, huge: failed"]
    assert table[1][-1] == "killed by signal 9"
    assert all(len(line) == len(header) for line in table)


def test_a_study_without_a_record_is_named_and_one_with_is_not(tmp_path: Path) -> None:
    missing = results_text([])
    for name, command in STUDIES.items():
        assert f"## {name}\n\nNo run record yet" in missing
        assert command in missing
    body = {"header": ["system"], "table": [["transformer"]], "rows": [], "notes": ["a note"]}
    write_record(make_study_record("encoders_common", body, command="python -m x"), tmp_path)
    text = results_text(read_records(tmp_path))
    assert "## encoders_common\n\nNo run record" not in text
    assert "| transformer |" in text
    assert "## decoders\n\nNo run record" in text


def test_the_short_table_has_a_line_a_system() -> None:
    header = ["system", "graph", "parameters", "kang R2", "kang links", "pbmc3k accuracy", "pbmc3k F1", "peak MB"]
    table = [
        ["scgpt", "no graph", "10", ".3", ".5", ".9", ".8", "7"],
        ["scgpt", "graph", "10", ".4", ".6", ".9", ".7", "7"],
        ["scgpt", "rewired", "10", ".2", ".7", ".9", ".6", "7"],
        ["gene mean", "control", "", ".0", "-", "-", "-", ""],
    ]
    assert short_encoders(header, table) == (
        ["system", "parameters", "kang R2", "kang links", "pbmc3k F1"],
        [["scgpt", "10", ".3", ".5 / .6 / .7", ".8"], ["gene mean", "", ".0", "-", "-"]],
    )


def test_ablations_change_one_thing_each() -> None:
    base = {"objectives": {"masked_value": {"target": "standardised"}}}
    assert ABLATIONS[0].changes == base
    assert ABLATIONS[0].parameters is None
    names = [f"{one.group} {one.name}" for one in ABLATIONS]
    assert len(set(names)) == len(names)
    for one in ABLATIONS[1:]:
        changed = [bool(one.encoder), bool(one.objective), one.parameters is not None]
        assert sum(changed) == 1, one
        objective = one.changes["objectives"]["masked_value"]
        assert objective["target"] == ("value" if one.group == "target" else "standardised")
        system = SYSTEMS["xtrimogene"].own["masked_value"]
        OBJECTIVES.config("masked_value", {**system, **objective})  # no setting contradicts another
    header, table = ablation_table({"values: round bins": [{"error": "no"}]})
    assert table[0][1] == "round bins: failed"
    assert len(table[0]) == len(header)


def test_an_ablation_is_compared_under_the_same_seeds() -> None:
    def row(*replicates: float) -> dict[str, Any]:
        cost = {"parameters": {"cell_encoder": 10}, "seconds_per_1000_cells": 1.0, "flops_per_cell": 1.0}
        return {"r2_replicates": list(replicates), **cost}

    found = {"reference: as it is": [row(0.5, 0.4, 0.6), row(0.7, 0.6, 0.8)], "values: round": [row(0.4, 0.3, 0.5)]}
    found["values: round"][0]["cells"] = {"gene_and_cell": {"value": 0.2, "low": 0.1, "high": 0.3}}
    header, table = ablation_table(found)
    assert table[2][:4] == ["", "gene and cell mean (control)", "", "0.200 [0.100, 0.300]"]
    assert all(len(line) == len(header) for line in table)
    place = header.index("minus reference")
    assert table[0][place] == "-"
    assert table[0][place - 1].startswith("0.600")
    assert table[1][place].startswith("-0.100 [-0.100, -0.100]")  # of seed 0 alone, not of the mean of both


def test_a_record_keeps_no_replicates() -> None:
    rows = [{"r2_replicates": [0.1], "steps": 3}, {"error": "no"}]
    assert without_replicates(rows) == [{"steps": 3}, {"error": "no"}]
    assert replicates_of({"A": rows}) == {"A": [[0.1]]}


# ---- the quality gate ------------------------------------------------------------------------------------------------


def _replicates(value: float, spread: float = 0.01) -> list[float]:
    noise = np.random.default_rng(0).standard_normal(400) * spread
    return [value, *(value + noise)]


def test_the_gate_asks_for_r2_above_zero_and_within_tolerance_of_a() -> None:
    verdicts = gate(
        {
            "A": [_replicates(0.300), _replicates(0.320), _replicates(0.310)],
            "D1": [_replicates(0.297), _replicates(0.317), _replicates(0.307)],
            "C": [_replicates(0.29), _replicates(0.31), _replicates(0.30)],
        }
    )
    assert verdicts["A"].passes
    assert verdicts["D1"].passes
    assert verdicts["D1"].difference == pytest.approx(-0.003)
    assert verdicts["D1"].difference_high == pytest.approx(-0.003), "replicates are paired: their noise cancels"
    assert verdicts["D1"].low < verdicts["D1"].r2 < verdicts["D1"].high
    assert not verdicts["C"].passes
    assert not gate({"A": 3 * [_replicates(-0.1)], "C": 3 * [_replicates(-0.1)]})["C"].passes, "R2 must be above 0"
    assert gate({"C": [_replicates(0.3)]}) == {}
    edge = gate({"A": 3 * [[0.3]], "C": 3 * [[0.3 - TOLERANCE - 1e-6]]})["C"]
    assert not edge.passes
    assert gate({"A": 3 * [[0.3]], "C": 3 * [[0.3 - TOLERANCE + 1e-6]]})["C"].passes


def test_the_gate_asks_for_three_seeds_and_the_whole_interval() -> None:
    two = gate({"A": 2 * [_replicates(0.3)], "C": 2 * [_replicates(0.3)]})
    assert not two["C"].passes, "two seeds are no claim"
    wide = _replicates(0.3)
    wide[1:201] = [value - 0.1 for value in wide[1:201]]  # as good on the whole, far worse on half of the resamples
    assert gate({"A": 3 * [_replicates(0.3)], "C": 3 * [wide]})["C"].difference == 0
    assert not gate({"A": 3 * [_replicates(0.3)], "C": 3 * [wide]})["C"].passes


def test_ten_times_fewer_is_said_of_forms_that_pass_only() -> None:
    flops = {"A": PUBLISHED_FLOPS / 3.6, "D1": PUBLISHED_FLOPS / 12.9, "C": PUBLISHED_FLOPS / 32}
    passing = {"A": 3 * [_replicates(0.3)], "D1": 3 * [_replicates(0.298)], "C": 3 * [_replicates(0.2)]}
    lines = claims(gate(passing), flops)
    assert lines[0] == "10x fewer FLOPs than xTrimoGene at the quality gate: D1"
    assert not any(line.startswith("C:") for line in lines)
    failing = claims(gate({"A": 3 * [_replicates(0.3)], "C": 3 * [_replicates(0.2)]}), flops)
    assert failing[0].startswith("no claim of 10x fewer FLOPs: the best that passes is 3.6x")
    assert claims({}, flops) == ["no claim of 10x fewer FLOPs: no form passes"]


def test_benchmarks_quote_the_recorded_gate(tmp_path: Path) -> None:
    assert "no record" in gate_note("C", tmp_path)
    verdicts = gate({"A": 3 * [_replicates(0.3)], "D1": 3 * [_replicates(0.298)], "C": 3 * [_replicates(0.2)]})
    body = {"header": [], "table": [], "rows": [], "verdicts": [asdict(verdict) for verdict in verdicts.values()]}
    write_record(make_study_record("decoders", body, command="x"), tmp_path)
    assert gate_note("D1", tmp_path).startswith("at the quality gate: R2 0.298, -0.0020 of A's")
    assert gate_note("C", tmp_path).startswith("fails the quality gate, no claim")
    assert gate_note("A", tmp_path).startswith("the gate's reference")
    assert "no such form" in gate_note("D2", tmp_path)


def test_curve_keeps_forms_that_failed() -> None:
    row = {"flops_per_cell": 1e9, "seconds_per_1000_cells": 1.0, "peak_memory_mb": 9.0}
    row |= {
        "parameters": {"cell_encoder": 1_234},
        "cells": {"factor_analysis": {"value": 0.6, "low": 0.5, "high": 0.7}},
    }
    verdicts = gate({"A": 3 * [_replicates(0.3)]})
    header, table = curve_table(verdicts, {"A": [row], "C": [{"error": "killed by signal 9"}]}, {"A": 1e10})
    assert table[0][header.index("passes the gate")] == "yes"
    assert table[1][0] == "C: failed"
    assert table[2][0] == "factor analysis (control)"
    assert table[2][header.index("R2")] == "0.600 [0.500, 0.700]"
    assert all(len(line) == len(header) for line in table)


def test_latents_cost_less_than_full_attention() -> None:
    """The shape calculation on a small transcriptome: the order of the forms, and growth with the genes."""
    cells = full_cells(2, num_genes=3000)
    totals = {form: shape_flops(form, cells, width=32)[0].total for form in ("A", "C")}
    assert totals["C"] < totals["A"]
    wider = shape_flops("A", full_cells(2, num_genes=6000), width=32)[0].total
    assert wider > 2 * totals["A"], "attention among visible tokens grows with their square"


def test_a_system_of_fixed_size_keeps_its_options() -> None:
    system = System("fixed", "transformer", {"num_layers": 2}, depth="")
    row = Row("values", system, WORLDS["simulated"])
    recipe = row_recipe(row, Path("prep"), SMALL, num_genes=80, rate=1e-3)
    assert recipe.model.cell_encoder.options == {"num_layers": 2}
    assert "link_prediction" not in recipe.objectives
