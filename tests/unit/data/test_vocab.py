"""FeatureVocab: identity, lookup, alignment by name, species, growth."""

from __future__ import annotations

import json

import pytest

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.vocab import (
    CLS_ID,
    MASK_ID,
    MODALITIES,
    NUM_SPECIAL,
    PAD_ID,
    SPECIAL_TOKENS,
    AlignmentReport,
    FeatureVocab,
    detect_species,
    is_spike_in,
)
from grn_cotrain.errors import UserError

HUMAN = ("STAT1", "GATA3", "HLA-A", "IRF1", "C1orf112", "ERCC6L", "ERCC-00002")
HUMAN_IDS = ("ENSG00000115415.21", "ENSG00000107485", "", "", "", "", "")


@pytest.fixture
def vocab() -> FeatureVocab:
    return FeatureVocab.from_symbols(HUMAN, HUMAN_IDS)


def test_special_tokens_are_distinct_and_features_follow(vocab: FeatureVocab) -> None:
    assert sorted({PAD_ID, MASK_ID, CLS_ID}) == [0, 1, 2]
    assert len(SPECIAL_TOKENS) == NUM_SPECIAL == 3
    assert (vocab.num_features, vocab.size) == (7, 10)


def test_modality_codes_are_those_of_a_batch() -> None:
    assert tuple(MODALITIES) == ("gene", "peak", "protein")
    assert "0 gene, 1 peak, 2 protein" in (PackedTokens.__doc__ or "")


def test_spike_ins_are_no_tokens_but_a_gene_of_that_name_is(vocab: FeatureVocab) -> None:
    tokens = dict(zip(vocab.symbols, vocab.is_token, strict=True))
    assert not tokens["ERCC-00002"]
    assert tokens["ERCC6L"]
    assert is_spike_in("ercc-00171")
    assert not is_spike_in("ERCC6L-1")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("STAT1", 0),
        ("stat1", 0),
        ("ENSG00000115415", 0),
        ("ensg00000115415.3", 0),
        ("ENSG00000107485.17", 1),
        ("hla-a", 2),
        ("C1ORF112", 4),
        ("STAT2", None),
        ("", None),
        ("ENSG00000999999", None),
    ],
)
def test_symbols_and_ensembl_ids_are_found_in_any_case_and_version(
    vocab: FeatureVocab, given: str, expected: int
) -> None:
    assert vocab.get(given) == expected


def test_unknown_gene_names_the_nearest(vocab: FeatureVocab) -> None:
    with pytest.raises(UserError, match=r"gene 'STAT11'.*did you mean 'STAT1'"):
        vocab.index("STAT11")


def test_exact_case_wins_and_ambiguous_case_decides_nothing() -> None:
    vocab = FeatureVocab.from_symbols(["abc1", "ABC1", "DEF2"])
    assert (vocab.get("abc1"), vocab.get("ABC1"), vocab.get("Abc1")) == (0, 1, None)


def test_one_name_may_be_a_gene_and_a_protein() -> None:
    vocab = FeatureVocab.from_symbols(["CD4", "CD4"], modality=["protein", "gene"])
    assert vocab.get("CD4") == 1
    assert vocab.get("cd4", "protein") == 0


def test_alignment_reports_every_fate_by_name(vocab: FeatureVocab) -> None:
    alignment = vocab.align(["gata3", "STAT1", "ENSG00000115415.9", "NOPE", "IRF1"])
    assert alignment.index_N.tolist() == [1, 0, -1, -1, 3]
    report = alignment.report
    assert (report.num_given, report.mapped) == (5, 3)
    assert report.renamed == [("gata3", "GATA3")]
    assert report.duplicated == ["ENSG00000115415.9"]
    assert report.lost == ["NOPE"]
    assert "3 of 5 mapped" in report.summary()
    assert "NOPE" in report.summary()
    assert AlignmentReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_ends_of_edges_keep_repeated_features(vocab: FeatureVocab) -> None:
    alignment = vocab.align(["STAT1", "ENSG00000115415"], repeats="keep")
    assert alignment.index_N.tolist() == [0, 0]
    assert alignment.report.duplicated == ["ENSG00000115415"]


@pytest.mark.parametrize(("share", "passes"), [(0.5, True), (0.51, False)])
def test_alignment_refuses_below_the_threshold(vocab: FeatureVocab, share: float, passes: bool) -> None:
    names = ["STAT1", "NOPE1"]
    if passes:
        assert vocab.align(names, min_mapped=share).report.mapped == 1
    else:
        with pytest.raises(UserError, match=r"only 1 of 2 .*lost: NOPE1"):
            vocab.align(names, min_mapped=share)


def test_nothing_to_align_is_an_error(vocab: FeatureVocab) -> None:
    with pytest.raises(UserError, match="none given"):
        vocab.align([])


@pytest.mark.parametrize(
    ("names", "species"),
    [
        (["STAT1", "GATA3", "IRF1", "FOXP3", "TBX21"], None),  # BEELINE writes mouse symbols so, too
        (["Stat1", "Gata3", "Irf1", "Foxp3", "Tbx21"], "mouse"),
        (["STAT1", "GATA3", "IRF1", "FOXP3", "HLA-A"], "human"),
        (["C1orf112", "C2orf40", "C3orf14", "CXorf21", "STAT1"], "human"),
        (["ENSMUSG00000026104"] * 1 + [f"ENSMUSG0000002610{i}" for i in range(5)], "mouse"),
        ([f"ENSG0000011541{i}" for i in range(5)], "human"),
        (["STAT1", "GATA3", "4930402H24RIK", "H2-AB1", "IRF1"], "mouse"),
        (["Stat1", "Gata3"], None),  # too few to tell
    ],
)
def test_species_is_named_on_evidence_only(names: list[str], species: str | None) -> None:
    found, evidence = detect_species(names)
    assert found == species
    assert evidence


MOUSE_NAMES = ["Stat1", "Gata3", "Irf1", "Foxp3", "Tbx21", "Spi1"]


def test_mouse_symbols_do_not_marry_human_ones() -> None:
    human = FeatureVocab.from_symbols([name.upper() for name in MOUSE_NAMES] + ["HLA-A"])
    assert human.species == "human"
    with pytest.raises(UserError, match=r"look like mouse .*vocabulary is human.*species mouse"):
        human.align(MOUSE_NAMES, min_mapped=0.0)
    with pytest.raises(UserError, match="look like mouse"):
        human.align([f"ENSMUSG0000002610{i}" for i in range(6)], min_mapped=0.0)


def test_upper_case_mouse_data_take_mouse_names_once_declared() -> None:
    beeline = FeatureVocab.from_symbols([name.upper() for name in MOUSE_NAMES], species="mouse")
    assert beeline.align(MOUSE_NAMES).report.mapped == 6
    undeclared = FeatureVocab.from_symbols([name.upper() for name in MOUSE_NAMES])
    assert undeclared.species == "unknown"
    assert undeclared.align(MOUSE_NAMES).report.mapped == 6
    with pytest.raises(UserError, match=r"Pax6|look like mouse"):
        undeclared.align([f"Abc{letter}" for letter in "defghi"])


def test_names_that_match_as_written_are_never_refused_for_their_style() -> None:
    vocab = FeatureVocab.from_symbols(MOUSE_NAMES, species="human")
    assert vocab.align(MOUSE_NAMES).report.mapped == 6


def test_extension_moves_no_id(vocab: FeatureVocab) -> None:
    longer = vocab.extend(["stat1", "NEW1", "ERCC-00009", "NEW1"])
    assert longer.symbols[: len(vocab)] == vocab.symbols
    assert longer.symbols[len(vocab) :] == ("NEW1", "ERCC-00009")
    assert longer.is_token[-1] is False
    assert longer.extend(longer.symbols) == longer
    with_protein = vocab.extend(["STAT1"], modality="protein")
    assert with_protein.get("STAT1") == 0
    assert with_protein.get("STAT1", "protein") == len(vocab)


def test_hash_follows_every_field(vocab: FeatureVocab) -> None:
    changed = [
        FeatureVocab.from_symbols(HUMAN[::-1], HUMAN_IDS[::-1]),
        FeatureVocab.from_symbols(HUMAN),
        FeatureVocab.from_symbols(HUMAN, HUMAN_IDS, species="unknown"),
        FeatureVocab.from_symbols(HUMAN, HUMAN_IDS, modality="protein", species="human"),
        vocab.extend(["NEW1"]),
    ]
    assert len({vocab.content_hash, *(other.content_hash for other in changed)}) == 1 + len(changed)
    assert FeatureVocab.from_symbols(HUMAN, HUMAN_IDS).content_hash == vocab.content_hash


def test_saved_and_loaded(vocab: FeatureVocab, tmp_path) -> None:
    path = tmp_path / "vocab.json"
    vocab.save(path)
    assert FeatureVocab.load(path) == vocab
    content = json.loads(path.read_text())
    assert content["special_tokens"] == list(SPECIAL_TOKENS)
    content["symbols"][0] = "OTHER"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="does not have its hash"):
        FeatureVocab.load(path)
    path.write_text("[1]")
    with pytest.raises(UserError, match="not a vocabulary"):
        FeatureVocab.load(path)


@pytest.mark.parametrize(
    ("symbols", "options", "message"),
    [
        (["A1", "A1"], {}, "occur more than once"),
        (["A1", " "], {}, "name is empty"),
        (["A1"], {"ids": ["x", "y"]}, "2 for 1 symbols"),
        (["A1"], {"modality": "rna"}, "modality 'rna'"),
        (["A1"], {"species": "fly"}, "species 'fly'"),
    ],
)
def test_bad_vocabularies_are_refused(symbols: list[str], options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        FeatureVocab.from_symbols(symbols, **options)
