"""Every edge format under the contract of :mod:`tests.cases.edge_formats`, read back by the tool it is for.

BEELINE, CellOracle, GEARS, TxPert and pySCENIC are not installed here; their readers are written out below from their
documentation and published code (named in each format's docstring).
"""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import networkx
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from grn_cotrain.data.grn import GRN
from grn_cotrain.data.io.edges import load_edges
from grn_cotrain.errors import UserError
from grn_cotrain.export.edge_formats import EDGE_FORMATS
from grn_cotrain.export.predicted_edges import COLUMNS
from tests.cases.edge_formats import AWKWARD, PLAIN, EdgeFormatCase, predicted
from tests.cases.skips import extra

Pairs = set[tuple[str, str]]


def columns(table: pd.DataFrame, source: str, target: str) -> Pairs:
    return set(zip(table[source], table[target], strict=True))


class TestBeeline(EdgeFormatCase):
    name = "beeline"

    def read(self, path: Path) -> Pairs:
        return columns(pd.read_csv(path, sep="\t", header=0, index_col=None), "Gene1", "Gene2")

    def test_ranking_survives_the_evaluation(self, tmp_path: Path) -> None:
        """As computeEarlyPrec: six decimals, absolute values, no zeros, cut after the k-th row."""
        edges = predicted()
        table = pd.read_csv(self.write(tmp_path, edges), sep="\t")
        assert list(table.columns) == ["Gene1", "Gene2", "EdgeWeight"]
        weight = table["EdgeWeight"].round(6).abs()
        assert (weight > 0).all()
        for k in range(1, len(table) + 1):
            best = max(np.nanmin(weight.replace(0, np.nan)), weight.iloc[k - 1])
            assert table[weight >= best].index.tolist() == list(range(k))
        assert table["Gene2"].tolist() == edges.frame["target"].tolist()


class TestDecoupler(EdgeFormatCase):
    name = "decoupler"

    def read(self, path: Path) -> Pairs:
        return columns(pd.read_csv(path), "source", "target")

    def test_ulm_takes_it(self, tmp_path: Path) -> None:
        """A cell whose STAT1 targets are up and whose repressed one is down has a high activity, and only there."""
        dc = extra("decoupler")

        net = pd.read_csv(self.write(tmp_path, predicted()))
        values = np.zeros((2, len(PLAIN)))
        values[0, [PLAIN.index(name) for name in ("IFIT1", "ISG15", "MX1", "IRF9")]] = 3
        values[1, [PLAIN.index(name) for name in ("MYC", "RPL3")]] = 3
        cells = anndata.AnnData(values, var=pd.DataFrame(index=list(PLAIN)))
        dc.mt.ulm(cells, net, tmin=3)
        activity = dc.pp.get_obsm(cells, "score_ulm").to_df()
        assert activity["STAT1"].iloc[0] > 1 > 0 > activity["STAT1"].iloc[1]

    def test_weights_carry_signs(self, tmp_path: Path) -> None:
        weight = pd.read_csv(self.write(tmp_path, predicted())).set_index(["source", "target"])["weight"]
        assert weight["STAT1", "IFIT1"] == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-5)
        assert weight["MYC", "RPL3"] == pytest.approx(-1 / (1 + np.exp(-1)), abs=1e-5)
        assert weight["STAT1", "MX1"] > 0  # of unknown sign

    def test_options(self, tmp_path: Path) -> None:
        table = pd.read_csv(self.write(tmp_path, predicted(), weights="sign", unsigned="drop"))
        assert sorted(table["weight"].unique()) == [-1, 1]
        assert len(table) == 8


class TestGraphml(EdgeFormatCase):
    name = "graphml"

    def read(self, path: Path) -> Pairs:
        return set(networkx.read_graphml(path).edges())

    def test_attributes(self, tmp_path: Path) -> None:
        graph = networkx.read_graphml(self.write(tmp_path, predicted()))
        assert isinstance(graph, networkx.DiGraph)
        edge = graph.edges["STAT1", "IFIT1"]
        assert edge["known"] == "train"
        assert edge["evidence"] == "CollecTRI;ExTRI"
        assert edge["sign"] == 1
        assert edge["score"] == 5.0
        assert edge["probability"] == pytest.approx(edge["weight"], abs=1e-6)
        assert "correlation" not in graph.edges["MYC", "IFIT1"]  # NaN
        assert {node for node, is_tf in graph.nodes(data="is_tf") if is_tf} == {"STAT1", "IRF9", "MYC"}


class TestGmt(EdgeFormatCase):
    name = "gmt"
    options = {"min_size": 1}
    awkward = (*(name for name in AWKWARD if " " not in name), "two_words")

    def sets(self, path: Path) -> dict[str, list[str]]:
        """As ctxcore's GeneSignature.from_gmt: name, description, genes; lines of # are comments."""
        found = {}
        for line in path.read_text(encoding="utf-8").split("\n"):
            if line.startswith("#") or not line.strip():
                continue
            name, _, genes = line.rstrip().split("\t", maxsplit=2)
            found[name] = genes.split("\t")
        return found

    def read(self, path: Path) -> Pairs:
        return {(name[:-3], gene) for name, genes in self.sets(path).items() for gene in genes}

    def test_signs_are_sets_apart_best_first(self, tmp_path: Path) -> None:
        found = self.sets(self.write(tmp_path, predicted()))
        assert found["STAT1(+)"] == ["IFIT1", "ISG15", "IRF9"]
        assert found["STAT1(-)"] == ["MYC"]
        assert found["STAT1(?)"] == ["MX1"]

    def test_decoupler_reads_it(self, tmp_path: Path) -> None:
        dc = extra("decoupler")

        path = self.write(tmp_path, predicted())
        net = dc.pp.read_gmt(path)
        assert columns(net, "source", "target") == {
            (name, gene) for name, genes in self.sets(path).items() for gene in genes
        }

    def test_small_sets_are_counted(self, tmp_path: Path) -> None:
        notes = self.build(min_size=2).write(predicted(), tmp_path / "x.gmt")
        assert set(self.sets(tmp_path / "x.gmt")) == {"STAT1(+)", "IRF9(+)"}
        assert notes[0] == "2 regulons"
        assert "6 regulons have fewer than 2 targets" in notes[1]
        with pytest.raises(UserError, match="no regulon"):
            self.build(min_size=9).write(predicted(), tmp_path / "y.gmt")

    def test_unknown_signs(self, tmp_path: Path) -> None:
        assert self.sets(self.write(tmp_path, predicted(), unsigned="activating"))["STAT1(+)"][2] == "MX1"
        notes = self.build(unsigned="drop").write(predicted(), tmp_path / "x.gmt")
        assert "3 edges of unknown sign were left out" in notes[1]
        assert not any(name.endswith("(?)") for name in self.sets(tmp_path / "x.gmt"))


class TestCelloracle(EdgeFormatCase):
    name = "celloracle"

    def read(self, path: Path) -> Pairs:
        """As Oracle.import_TF_data(TF_info_matrix_path=...)."""
        table = pd.read_parquet(path).drop(["peak_id"], axis=1).groupby(by="gene_short_name").sum()
        found = dict(table.apply(lambda row: row[row > 0].index.values, axis=1))
        return {(tf, target) for target, tfs in found.items() for tf in tfs}

    def test_a_tf_named_as_a_column_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="layout=dictionary"):
            self.write(tmp_path, predicted(("peak_id", *PLAIN[1:])))


class TestCelloracleDictionary(EdgeFormatCase):
    name = "celloracle"
    options = {"layout": "dictionary"}

    def read(self, path: Path) -> Pairs:
        assert path.suffix == ".json"
        found = json.loads(path.read_text(encoding="utf-8"))  # target -> its TFs
        return {(tf, target) for target, tfs in found.items() for tf in tfs}


class TestGears(EdgeFormatCase):
    name = "gears"

    def read(self, path: Path) -> Pairs:
        """As GEARS: the k best edges into each target, then a directed graph with importance."""
        table = pd.read_csv(path)
        best = table.groupby("target")[["source", "target", "importance"]].apply(
            lambda part: part.nlargest(20 + 1, ["importance"])
        )
        graph = networkx.from_pandas_edgelist(
            best.reset_index(drop=True), "source", "target", ["importance"], create_using=networkx.DiGraph()
        )
        importance = np.array(list(networkx.get_edge_attributes(graph, "importance").values()))
        assert ((importance > 0) & (importance <= 1)).all()
        return set(graph.edges())


class TestTxpert(EdgeFormatCase):
    name = "txpert"

    def read(self, path: Path) -> Pairs:
        """As GSPGraph.process_graph: names to ids, unknown ones dropped."""
        table = pd.read_parquet(path)
        ids = {name: i for i, name in enumerate(sorted(set(table["regulator"]) | set(table["target"])))}
        names = list(ids)
        index_2E = np.array([table["regulator"].map(ids).to_numpy(), table["target"].map(ids).to_numpy()])
        assert table["weight"].dtype == np.float32
        return {(names[a], names[b]) for a, b in index_2E.T}

    def test_signed(self, tmp_path: Path) -> None:
        assert (pd.read_parquet(self.write(tmp_path, predicted()))["weight"] > 0).all()
        assert (pd.read_parquet(self.write(tmp_path, predicted(), signed=True))["weight"] < 0).sum() == 2


class TestParquet(EdgeFormatCase):
    name = "parquet"

    def read(self, path: Path) -> Pairs:
        return columns(pd.read_parquet(path), "source", "target")

    def test_everything_comes_back(self, tmp_path: Path) -> None:
        edges = predicted()
        path = self.write(tmp_path, edges)
        read = pd.read_parquet(path)
        assert list(read.columns) == list(COLUMNS)
        pd.testing.assert_frame_equal(read, edges.frame, check_dtype=False)
        metadata = pq.read_schema(path).metadata
        assert metadata[b"grn_cotrain.vocab_hash"].decode() == edges.vocab_hash
        assert float(metadata[b"grn_cotrain.prevalence"]) == 0.01


class TestTsv(EdgeFormatCase):
    name = "tsv"

    def read(self, path: Path) -> Pairs:
        return columns(pd.read_csv(path, sep="\t"), "source", "target")

    def test_the_own_reader_takes_it(self, tmp_path: Path) -> None:
        found = load_edges(self.write(tmp_path, predicted())).frame.set_index(["source", "target"])
        assert len(found) == 11
        assert found.loc[("MYC", "RPL3"), "sign"] == -1
        assert found.loc[("STAT1", "MX1"), "sign"] == 0


class TestH5ad(EdgeFormatCase):
    name = "h5ad"

    def read(self, path: Path) -> Pairs:
        adata = anndata.read_h5ad(path)
        matrix = adata.varp["grn_cotrain"].tocoo()
        return {
            (adata.var_names[row], adata.var_names[column]) for row, column in zip(matrix.row, matrix.col, strict=True)
        }

    def test_network_and_table(self, tmp_path: Path) -> None:
        import scanpy

        edges = predicted()
        adata = scanpy.read_h5ad(self.write(tmp_path, edges))
        assert adata.shape == (0, len(PLAIN))
        grn = GRN.from_adata_varp(adata, edges.vocab, key="grn_cotrain")
        expected = edges.to_grn()
        np.testing.assert_array_equal(grn.pairs_2E, expected.pairs_2E)
        np.testing.assert_array_equal(grn.sign_E, expected.sign_E)
        np.testing.assert_allclose(grn.weight_E, expected.weight_E)
        stored = adata.uns["grn_cotrain"]
        assert stored["prevalence"] == 0.01
        assert stored["vocab_hash"] == edges.vocab_hash
        assert list(stored["edges"]["known"]) == list(edges.frame["known"])
        assert set(adata.var_names[adata.var["is_tf"]]) == {"STAT1", "IRF9", "MYC"}

    def test_key(self, tmp_path: Path) -> None:
        assert "mine" in anndata.read_h5ad(self.write(tmp_path, predicted(), key="mine")).varp
        with pytest.raises(UserError, match="key"):
            self.build(key="a/b")


class TestGenernib(EdgeFormatCase):
    name = "genernib"

    def read(self, path: Path) -> Pairs:
        return columns(anndata.read_h5ad(path).uns["prediction"], "source", "target")

    def test_slots(self, tmp_path: Path) -> None:
        uns = anndata.read_h5ad(self.write(tmp_path, predicted(), dataset_id="op")).uns
        assert (uns["dataset_id"], uns["method_id"]) == ("op", "grn_cotrain")
        net = uns["prediction"]
        assert list(net.columns) == ["source", "target", "weight"]
        assert net["weight"].dtype == float
        assert net["weight"].abs().is_monotonic_decreasing
        assert not net[["source", "target"]].duplicated().any()
        assert (net["source"] != net["target"]).all()


def test_every_component_is_covered() -> None:
    cases = [cls for cls in globals().values() if isinstance(cls, type) and issubclass(cls, EdgeFormatCase)]
    assert {cls.name for cls in cases if cls is not EdgeFormatCase} == set(EDGE_FORMATS.names())


@pytest.mark.parametrize(
    ("name", "options", "format", "weights", "signs", "lost"),
    [
        ("parquet", {}, "auto", True, True, None),
        ("tsv", {}, "auto", True, True, None),
        ("graphml", {}, "auto", True, True, None),
        ("h5ad", {}, "auto", True, True, None),
        ("gmt", {"min_size": 1}, "auto", False, True, "no weights"),
        ("gears", {}, "auto", True, False, "no signs"),
        ("txpert", {}, "auto", True, False, "no signs"),
        ("txpert", {"signed": True}, "auto", True, "positive", "3 edges of unknown sign"),
        ("decoupler", {}, "auto", True, "positive", "3 edges of unknown sign"),
        ("genernib", {}, "auto", True, "positive", "3 edges of unknown sign"),
        ("beeline", {}, "auto", "EdgeWeight", False, "no signs"),
        ("celloracle", {}, "auto", False, False, "no weights and signs"),
        ("celloracle", {"layout": "dictionary"}, "dictionary:keys=target", False, False, "no weights and signs"),
    ],
)
def test_the_own_reader_takes_every_format_back(tmp_path, name, options, format, weights, signs, lost) -> None:
    """The same edges, with the weights and signs that the format can hold; what it cannot hold is said."""
    edges = predicted()
    writer = EDGE_FORMATS.build(name, options)
    path = tmp_path / f"edges.{writer.suffix}"
    said = writer.write(edges, path)
    assert (lost is None) == (said == [])
    assert lost is None or any(lost in note for note in said)
    found = load_edges(path, format).frame.set_index(["source", "target"])
    expected = edges.to_grn().edges.set_index(["source", "target"]).reindex(found.index)
    assert set(found.index) == EdgeFormatCase.pairs(edges)
    score = edges.frame.set_index(["source", "target"])["score"].reindex(found.index)
    shifted = score - score.min() + 1e-6
    wanted = {True: expected["weight"], False: expected["weight"] * 0 + 1, "EdgeWeight": shifted}[weights]
    np.testing.assert_allclose(found["weight"], wanted, rtol=1e-5, atol=1e-6)
    kept = {True: expected["sign"], False: expected["sign"] * 0, "positive": expected["sign"].replace(0, 1)}[signs]
    assert found["sign"].tolist() == kept.tolist()
