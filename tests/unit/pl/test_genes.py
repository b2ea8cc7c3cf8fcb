"""Maps of gene embeddings: coordinates, colours, shapes and labels."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from grn_cotrain import pl
from grn_cotrain.data.run_data import load_run_data
from grn_cotrain.errors import UserError
from grn_cotrain.export import gene_embeddings
from grn_cotrain.pl import embedding_coordinates as module
from grn_cotrain.pl._labels import place_labels
from grn_cotrain.run_folder import RunFolder

coordinates_module = __import__("sys").modules["grn_cotrain.pl.embedding_coordinates"]
assert module is pl.embedding_coordinates


def frame(num_genes: int = 30, width: int = 6, seed: int = 0) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(num_genes, width)) * np.arange(width, 0, -1)
    return pd.DataFrame(values, index=[f"G{i}" for i in range(num_genes)])


def legend(ax) -> list[str]:  # type: ignore[no-untyped-def]
    return [text.get_text() for text in ax.get_legend().get_texts()]


# ---- coordinates -----------------------------------------------------------------------------------------------------


def test_pca_is_that_of_scikit_learn_up_to_sign() -> None:
    from sklearn.decomposition import PCA

    vectors = frame()
    found = pl.embedding_coordinates(vectors, basis="pca")
    model = PCA(2).fit(vectors)
    np.testing.assert_allclose(np.abs(found), np.abs(model.transform(vectors)), atol=1e-4)
    np.testing.assert_allclose(found.attrs["explained"], model.explained_variance_ratio_, atol=1e-6)
    assert list(found.index) == list(vectors.index)
    mirrored = pl.embedding_coordinates(vectors.iloc[::-1], basis="pca")
    np.testing.assert_allclose(mirrored.iloc[::-1], found, atol=1e-5)


@pytest.mark.slow
def test_umap_is_deterministic_and_keeps_far_groups_apart() -> None:
    vectors = frame(40)
    vectors.iloc[:20, 0] += 300
    vectors.iloc[20:, 1] += 300
    coordinates_module._cache.clear()
    found = pl.embedding_coordinates(vectors)
    between = np.hypot(*(found.iloc[:20].mean() - found.iloc[20:].mean()))
    assert between > 2 * max(found.iloc[:20].std().max(), found.iloc[20:].std().max())
    coordinates_module._cache.clear()
    np.testing.assert_array_equal(pl.embedding_coordinates(vectors), found)


def test_vectors_are_laid_out_once_for_all_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def layout(matrix_GD: np.ndarray, neighbors: int, seed: int, progress: object) -> np.ndarray:
        del progress
        calls.append((neighbors, seed))
        return matrix_GD[:, :2].astype(np.float64) + seed

    monkeypatch.setattr(coordinates_module, "_umap", layout)
    coordinates_module._cache.clear()
    vectors = frame(40, seed=7)
    found = pl.embedding_coordinates(vectors)
    for colour in (None, pd.Series(1.0, index=vectors.index), pd.Series("a", index=vectors.index)):
        ax = pl.gene_embedding(vectors.copy(), color=colour)
        np.testing.assert_allclose(ax.collections[0].get_offsets(), found)
    assert calls == [(15, 0)]
    pl.embedding_coordinates(vectors, seed=1)
    pl.embedding_coordinates(vectors + 1)
    assert calls == [(15, 0), (15, 1), (15, 0)]
    coordinates_module._cache.clear()


def test_coordinates_are_kept_for_a_few_inputs_only() -> None:
    coordinates_module._cache.clear()
    for seed in range(20):
        pl.embedding_coordinates(frame(seed=seed), basis="pca")
    assert len(coordinates_module._cache) == 8
    found = pl.embedding_coordinates(frame(seed=19), basis="pca")
    found["x"] = 0.0  # the caller's copy
    assert pl.embedding_coordinates(frame(seed=19), basis="pca")["x"].std() > 0


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (frame(), {"basis": "tsne"}, "basis 'tsne': choose from umap, pca"),
        (frame(4), {}, "4 genes; give at least 5"),
        (frame(), {"neighbors": 1}, "neighbors '1'"),
        (frame().replace(frame().iloc[0, 0], np.nan), {}, "finite numbers"),
        (frame()[[0]], {}, "two or more columns"),
        (7, {}, "got int; give a run folder"),
        (anndata.AnnData(np.ones((2, 3))), {}, "key 'grn_cotrain': not in varm"),
    ],
)
def test_coordinates_refuse(source, options: dict, said: str) -> None:  # type: ignore[no-untyped-def, type-arg]
    with pytest.raises(UserError, match=said):
        pl.embedding_coordinates(source, **options)


# ---- colours of a run ------------------------------------------------------------------------------------------------


def test_degree_is_that_of_the_training_edges(tiny_run: Path) -> None:
    ax = pl.gene_embedding(tiny_run, basis="pca", labels=4)
    data = load_run_data(RunFolder.open(tiny_run).recipe())
    degree = np.bincount(data.split.train_2E.ravel(), minlength=data.split.num_genes)
    without, scatter = ax.collections[:2]
    assert scatter.norm.__class__.__name__ == "LogNorm"
    np.testing.assert_array_equal(np.sort(scatter.get_array()), np.sort(degree[degree > 0]))
    assert len(without.get_offsets()) == (degree == 0).sum()
    assert legend(ax) == [f"no training edge ({(degree == 0).sum()})"]
    sizes = scatter.get_sizes()
    assert (np.diff(sizes) >= 0).all()  # drawn from few to many, small to large
    assert scatter.colorbar.ax.get_ylabel() == "training edges of the gene"
    coordinates = pl.embedding_coordinates(tiny_run, basis="pca")
    top = data.prep.vocab.symbols[
        int(np.argmax(np.where(np.isin(np.arange(len(degree)), data.split.train_2E[0]), degree, 0)))
    ]
    names = [text.get_text() for text in ax.texts if text.get_text()]
    assert len(names) == 4
    assert degree[data.prep.vocab.symbols.index(names[0])] == degree[data.prep.vocab.symbols.index(top)]
    drawn = {tuple(np.round(xy, 6)) for xy in scatter.get_offsets()}
    assert tuple(np.round(coordinates.loc[top], 6)) in drawn
    assert "PC 1 (" in ax.get_xlabel()


def test_regulon_shows_trained_and_held_out_targets_in_two_shapes(tiny_run: Path) -> None:
    data = load_run_data(RunFolder.open(tiny_run).recipe())
    split, symbols = data.split, data.prep.vocab.symbols
    source = int(np.bincount(split.train_2E[0]).argmax())
    trained = int((split.train_2E[0] == source).sum())
    held = int((split.test_2E[0] == source).sum() + (split.validation_2E[0] == source).sum())
    assert trained
    assert held
    ax = pl.gene_embedding(tiny_run, color=f"regulon:{symbols[source]}", basis="pca")
    said = legend(ax)
    assert f"target of {symbols[source]}, in training ({trained})" in said
    assert f"target of {symbols[source]}, held out ({held})" in said
    assert symbols[source] in said
    shapes = {str(collection.get_paths()[0].vertices.round(3).tolist()) for collection in ax.collections[1:4]}
    assert len(shapes) == 3
    assert symbols[source] == next(text.get_text() for text in ax.texts if text.get_text())


def test_tf_and_expression(tiny_run: Path) -> None:
    data = load_run_data(RunFolder.open(tiny_run).recipe())
    ax = pl.gene_embedding(tiny_run, color="tf", basis="pca", labels=0)
    sources = set(data.split.train_2E[0]) | set(data.split.validation_sources_S) | set(data.split.test_sources_S)
    assert f"TF ({len(sources)})" in legend(ax)
    assert not ax.texts
    ax = pl.gene_embedding(
        tiny_run, color="expression", basis="pca", labels=["GENE0"] if "GENE0" in data.prep.vocab.symbols else 0
    )
    expected = np.asarray(data.prep.cells.normalised().mean(axis=0)).ravel()
    np.testing.assert_allclose(np.sort(ax.collections[0].get_array()), np.sort(expected), rtol=1e-5)


def test_other_sources_and_series(tiny_run: Path) -> None:
    embeddings = gene_embeddings(tiny_run)
    ax = pl.gene_embedding(embeddings, color=None, basis="pca", labels=0)
    assert len(ax.collections[0].get_offsets()) == len(embeddings.frame)
    with pytest.raises(UserError, match="color 'degree': needs a run"):
        pl.gene_embedding(embeddings, basis="pca")
    vectors = frame()
    groups = pd.Series(["a"] * 10 + ["b"] * 15 + [None] * 5, index=vectors.index, name="module")
    ax = pl.gene_embedding(vectors, color=groups, basis="pca", labels=["G3"])
    assert legend(ax) == ["none (5)", "b (15)", "a (10)"]
    assert ax.get_legend().get_title().get_text() == "module"
    numbers = pd.Series(np.arange(20.0), index=vectors.index[:20], name="score")
    ax = pl.gene_embedding(vectors, color=numbers, basis="pca", labels=0)
    assert len(ax.collections[0].get_offsets()) == 10
    np.testing.assert_array_equal(ax.collections[1].get_array(), np.arange(20))


def test_an_anndata_is_drawn_without_a_change_and_its_var_may_colour() -> None:
    vectors = frame()
    adata = anndata.AnnData(np.ones((3, 30), dtype=np.float32), var=pd.DataFrame(index=vectors.index))
    adata.var["length"] = np.arange(30.0)
    adata.varm["grn_cotrain"] = vectors.to_numpy(np.float32)
    adata.varm["grn_cotrain"][4] = np.nan  # a gene that the model does not know
    before = adata.copy()
    ax = pl.gene_embedding(adata, color="length", basis="pca", labels=0)
    np.testing.assert_array_equal(ax.collections[0].get_array(), [i for i in range(30) if i != 4])
    pd.testing.assert_frame_equal(adata.var, before.var)
    assert list(adata.obsm) == list(adata.varm)[1:] == []
    with pytest.raises(UserError, match="did you mean 'length'"):
        pl.gene_embedding(adata, color="lenght", basis="pca")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"color": "degre"}, "did you mean 'degree'"),
        ({"color": "regulon:NOBODY"}, "color 'regulon:NOBODY': no TF with edges"),
        ({"labels": -1}, "labels '-1'"),
        ({"labels": ["NOBODY"]}, "labels 'NOBODY': no gene of this embedding"),
        ({"color": pd.Series([1.0], index=["NOBODY"])}, "none of its 1 names is a gene"),
        ({"color": pd.Series([1.0, 2.0], index=["A", "A"])}, "gene 'A' is in it twice"),
        ({"kind": "graf"}, "did you mean 'graph'"),
    ],
)
def test_gene_embedding_refuses(tiny_run: Path, options: dict, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UserError, match=said):
        pl.gene_embedding(tiny_run, basis="pca", **options)


def test_too_many_groups_are_refused() -> None:
    vectors = frame()
    with pytest.raises(UserError, match="30 groups; at most 6"):
        pl.gene_embedding(vectors, color=pd.Series(vectors.index, index=vectors.index), basis="pca")


# ---- labels ----------------------------------------------------------------------------------------------------------


def test_labels_of_crowded_points_do_not_overlap_and_stay_inside() -> None:
    figure = Figure(figsize=(4, 4))
    ax = figure.add_subplot()
    rng = np.random.default_rng(0)
    points = rng.normal(0, 0.05, (14, 2)) + 0.5
    ax.set(xlim=(0, 1), ylim=(0, 1))
    names = [f"GENE{i}" for i in range(14)]
    place_labels(ax, points, names)
    renderer = figure._get_renderer()  # type: ignore[attr-defined]
    boxes = [text.get_window_extent(renderer) for text in ax.texts if text.get_text()]
    assert len(boxes) == 14
    frame = ax.get_window_extent(renderer)
    for i, box in enumerate(boxes):
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        for other in boxes[:i]:
            width, height = min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)
            assert min(width, height) <= 0.5
    assert any(not text.get_text() for text in ax.texts), "far labels have a line"


def test_automatic_labels_without_a_free_place_are_left_out_and_named_ones_are_written() -> None:
    for crowded, number in (("leave out", 1), ("draw", 12)):
        figure = Figure(figsize=(1, 1))
        ax = figure.add_axes((0, 0, 1, 1))
        ax.set(xlim=(0, 1), ylim=(0, 1))
        place_labels(ax, np.full((12, 2), 0.5), [f"A-VERY-LONG-NAME-{i}" for i in range(12)], crowded=crowded)  # type: ignore[arg-type]
        assert len([text for text in ax.texts if text.get_text()]) <= number
    vectors = frame(40)
    ax = pl.gene_embedding(vectors, color=None, basis="pca", labels=list(vectors.index))
    assert len([text for text in ax.texts if text.get_text()]) == 40


def test_the_number_of_labels_has_a_limit() -> None:
    with pytest.raises(UserError, match="labels '61': give 0 to 60, or names"):
        pl.gene_embedding(frame(), color=None, basis="pca", labels=61)


# ---- legends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(3.9, 4.2), (5.0, 4.7), (2.6, 3.4)])
@pytest.mark.parametrize("tf", ["SPI1", "A-VERY-LONG-NAME-OF-A-TF"])
def test_no_legend_of_a_map_is_cut(size: tuple[float, float], tf: str) -> None:
    vectors = frame(200)
    names = [f"target of {tf}, in training", f"target of {tf}, held out", "other gene", tf]
    groups = pd.Series([names[i % 4] for i in range(200)], index=vectors.index, name="regulon")
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.add_subplot()
    pl.gene_embedding(vectors, color=groups, basis="pca", ax=ax)
    figure.draw_without_rendering()
    box = ax.get_legend().get_window_extent(figure._get_renderer())  # type: ignore[attr-defined]
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0
    assert box.y1 <= ax.get_window_extent().y0, "it stands below the axes"
    assert len(legend(ax)) == 4


# ---- progress --------------------------------------------------------------------------------------------------------


def test_neighbours_are_exact_and_each_gene_is_its_own() -> None:
    vectors = frame(60).to_numpy(np.float32)
    index, distance = coordinates_module._nearest(vectors, 7)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = np.sort(1 - unit @ unit.T, axis=1)[:, :7]
    np.testing.assert_array_equal(index[:, 0], np.arange(60))
    np.testing.assert_allclose(distance, np.clip(expected, 0, None), atol=1e-5)


@pytest.mark.slow
def test_umap_tells_how_far_it_is() -> None:
    coordinates_module._cache.clear()
    told: list[tuple[int, int]] = []
    pl.embedding_coordinates(frame(300, seed=3), progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 300)
    assert {total for _, total in told} == {300}
    assert told == sorted(told)
    pl.embedding_coordinates(frame(300, seed=3), progress=lambda done, total: pytest.fail("it was kept"))


def test_epochs_are_heard() -> None:
    heard: list[int] = []
    file = coordinates_module._Epochs(heard.append)
    for text in ("\r0", "\r", "\r120", "\n", ""):
        file.write(text)
    file.flush()
    assert heard == [0, 120]
