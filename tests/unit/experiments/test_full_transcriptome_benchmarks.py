"""B2, B4 and B11 on small transcriptomes: rows, goals, what is absent; fewer questions change no answer."""

from __future__ import annotations

import sys

import pytest

from experiments.benchmarks import b02_full_transcriptome_step as b02
from experiments.benchmarks import b04_flops as b04
from experiments.benchmarks import b11_all_genes_inference as b11
from experiments.benchmarks.harness import AgreementError, Context, modules
from experiments.encoders.designs import FORMS
from experiments.encoders.full_transcriptome import full_batch, full_cells
from tests.cases.skips import extra

QUICK = Context(quick=True, threads=1)


def test_the_benchmarks_are_found_by_their_ids() -> None:
    assert {"B2", "B4", "B11"} <= set(modules())


def test_b02_says_that_architectures_differ() -> None:
    extra("performer_pytorch")
    rows = b02.run(QUICK)
    ours, theirs = rows[:3], rows[3:]
    assert [row.ratio for row in ours] == [None] * 3
    assert all("architecture differs" in row.note and row.ratio is not None for row in theirs)
    assert "goal 40x" in theirs[0].note
    assert "goal" not in theirs[1].note  # A1 came later than the goals
    assert "goal 400x" in theirs[2].note
    assert all("claim" in row.note or "gate" in row.note for row in ours)


def test_b02_without_its_peer_has_an_absent_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "performer_pytorch", None)
    rows = b02.run(QUICK)
    assert rows[-1].seconds is None
    assert rows[-1].note.startswith("absent")
    assert all(row.seconds is not None for row in rows[:-1])


def test_b04_counts_every_form() -> None:
    rows = b04.run(QUICK)
    assert len(rows) == 1 + len(FORMS)
    assert all(row.seconds is None and row.ratio is not None and row.ratio > 0 for row in rows[1:])
    assert "9.8M" in rows[0].note


def test_b11_checks_its_subset_before_it_times() -> None:
    rows = b11.run(QUICK)
    assert [row.ratio is None for row in rows] == [True, True, False, False]
    assert all("values of fewer genes equal" in row.note for row in rows[:2])


def test_b11_asks_for_every_zero_and_notices_a_decoder_whose_questions_meet() -> None:
    cells = full_cells(2, num_genes=120)
    model = b11.inference_model("published", cells, 16)
    batch = b11.asking_for_all(full_batch(model, cells))
    assert batch.masked_T is not None
    zeros_T = (batch.values_T == 0) & (batch.feature_ids_T > 2)
    assert bool(batch.masked_T[zeros_T].all())
    assert not bool(batch.masked_T[0]), "CLS is never asked for"
    assert int(batch.masked_T.sum()) < batch.num_tokens - 1, "something stays visible"
    with pytest.raises(AgreementError):
        b11._subset_agrees(model, batch, b11._predict(model, batch)())
