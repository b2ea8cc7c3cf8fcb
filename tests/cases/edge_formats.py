"""Contract of edge formats, checked for every registered one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from grn_cotrain.apply.identity import RunIdentity
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.export.edge_formats import EDGE_FORMATS, EdgeFormat
from grn_cotrain.export.predicted_edges import COLUMNS, PredictedEdges
from grn_cotrain.files import atomic_file

__all__ = ["AWKWARD", "PLAIN", "EdgeFormatCase", "predicted"]

PLAIN = ("STAT1", "IRF9", "IFIT1", "ISG15", "MX1", "MYC", "NPM1", "RPL3")
AWKWARD = ("a,b", 'H2-"K1"', "Ünï-✓", "two words", "semi;colon", "it's", "<tag>&", "x|y")


def predicted(names: tuple[str, ...] = PLAIN, *, calibrated: bool = True) -> PredictedEdges:
    """Eleven edges of three TFs (the first, second and sixth gene), all signs and parts among them."""
    vocab = FeatureVocab.from_symbols(list(names), species="human")
    rows = [
        (0, 2, 5.0, 1, "network", 0.5, "train", "CollecTRI;ExTRI"),
        (0, 3, 4.0, 1, "correlation", 0.3, "", ""),
        (5, 6, 3.5, 1, "correlation", 0.2, "test", "TRRUST"),
        (0, 4, 3.0, 0, "", 0.01, "", ""),
        (1, 2, 2.0, 1, "network", 0.4, "train", ""),
        (5, 7, 1.0, -1, "correlation", -0.2, "", ""),
        (1, 3, 0.5, 1, "correlation", 0.1, "validation", ""),
        (0, 5, 0.25, -1, "network", 0.0, "train", ""),
        (1, 4, 0.0, 0, "", 0.02, "", ""),
        (5, 2, -1.0, 0, "", float("nan"), "withheld", ""),
        (0, 1, -3.0, 1, "correlation", 0.1, "", ""),
    ]
    symbols = np.asarray(vocab.symbols, dtype=object)
    raw = pd.DataFrame(
        rows, columns=["source", "target", "score", "sign", "sign_source", "correlation", "known", "evidence"]
    )
    frame = raw.assign(
        source=symbols[raw["source"]],
        target=symbols[raw["target"]],
        sign=raw["sign"].astype(np.int8),
        correlation=raw["correlation"].astype(np.float32),
        probability=1 / (1 + np.exp(-raw["score"])) if calibrated else np.nan,
        shared_by=raw.groupby("target")["target"].transform("size"),
        target_mean=0.5,
        evidence_rank=1,
        channels="knn_family +0.30",
    )[list(COLUMNS)]
    return PredictedEdges(
        frame=frame,
        vocab=vocab,
        identity=RunIdentity("example", "r" * 16, vocab.content_hash, "w" * 64),
        scorer="joint",
        num_candidates=21,
        labels="split",
        num_train=3,
        prevalence=0.01 if calibrated else None,
        num_calibration=1000 if calibrated else None,
    )


class EdgeFormatCase:
    """Subclass with ``name``, ``options`` and ``read``: a reader of the format that shares no code with its writer."""

    name: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    awkward: ClassVar[tuple[str, ...]] = AWKWARD

    def build(self, **options: Any) -> EdgeFormat:
        """The writer."""
        return EDGE_FORMATS.build(self.name, {**self.options, **options})

    def read(self, path: Path) -> set[tuple[str, str]]:
        """Pairs of names in a file."""
        raise NotImplementedError

    def write(self, folder: Path, edges: PredictedEdges, **options: Any) -> Path:
        """Write as an export does, names checked and the file put in place at once."""
        writer = self.build(**options)
        path = folder / f"edges.{writer.suffix}"
        writer.check_names(edges)
        with atomic_file(path) as temporary:
            writer.write(edges, temporary)
        return path

    @staticmethod
    def pairs(edges: PredictedEdges) -> set[tuple[str, str]]:
        """What must be read back."""
        return set(zip(edges.frame["source"], edges.frame["target"], strict=True))

    def test_plain_names_come_back(self, tmp_path: Path) -> None:
        edges = predicted()
        assert self.read(self.write(tmp_path, edges)) == self.pairs(edges)

    def test_awkward_names_come_back(self, tmp_path: Path) -> None:
        edges = predicted(self.awkward)
        assert set(edges.vocab.symbols) == set(self.awkward)
        assert self.read(self.write(tmp_path, edges)) == self.pairs(edges)

    @pytest.mark.parametrize(
        "bad", ["tab\there", "line\nbreak", "return\rhere", "NA", "nan", "#hash", "\x07bell", "two words"]
    )
    def test_other_names_come_back_or_are_refused_in_one_line(self, tmp_path: Path, bad: str) -> None:
        edges = predicted((bad, *PLAIN[1:]))
        assert bad in edges.vocab.symbols
        writer = self.build()
        pattern = writer.refused_characters
        if bad in writer.refused_names or (pattern is not None and pattern.search(bad)):
            with pytest.raises(UserError, match="1 names of genes cannot be written in it"):
                self.write(tmp_path, edges)
            assert list(tmp_path.iterdir()) == []
        else:
            assert self.read(self.write(tmp_path, edges)) == self.pairs(edges)

    def test_without_calibration(self, tmp_path: Path) -> None:
        edges = predicted(calibrated=False)
        assert self.read(self.write(tmp_path, edges)) == self.pairs(edges)

    def test_does_not_change_the_edges(self, tmp_path: Path) -> None:
        edges, untouched = predicted(), predicted()
        self.write(tmp_path, edges)
        pd.testing.assert_frame_equal(edges.frame, untouched.frame)

    def test_unknown_option(self) -> None:
        with pytest.raises(UserError, match="edge_format"):
            self.build(no_such_option=1)

    def test_same_bytes_twice(self, tmp_path: Path) -> None:
        (tmp_path / "again").mkdir()
        first, second = self.write(tmp_path, predicted()), self.write(tmp_path / "again", predicted())
        assert self.read(first) == self.read(second)
        if first.suffix != ".h5ad":  # HDF5 files hold times
            assert first.read_bytes() == second.read_bytes()
