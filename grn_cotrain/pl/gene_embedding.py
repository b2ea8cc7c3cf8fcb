"""Gene embeddings as a map.

Dimension letters: G genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.pl._genes import Embedded, embedded
from grn_cotrain.pl._labels import place_labels
from grn_cotrain.pl._legend import legend_below
from grn_cotrain.pl.embedding_coordinates import embedding_coordinates
from grn_cotrain.pl.theme import ACCENT, FAINT, GREEN, INK, MARKERS, OTHERS, PAPER, VERMILION, new_axes, style
from grn_cotrain.progress import Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["gene_embedding"]

_LABELS = 10
_MOST_LABELS = 60
_COVERED = 0.12  # cost of a point under a label: eight points and the label goes elsewhere
_LEGEND_AT = -0.09
_RASTER_FROM = 1500  # points beyond which a vector file would be megabytes
_MAX_GROUPS = 6
_FAINTLY = 0.55
_REGULON = "regulon:"


def gene_embedding(
    source: Any,
    *,
    color: str | pd.Series | None = "degree",
    kind: str = "graph",
    basis: str = "umap",
    key: str | None = None,
    labels: int | Sequence[str] = _LABELS,
    seed: int = 0,
    progress: Progress | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw genes by the similarity of their embeddings.

    Parameters
    ----------
    source
        Run folder, :class:`~grn_cotrain.export.GeneEmbeddings`, an AnnData with ``varm[key]`` (from
        ``tl.embed_genes``), or a frame with one row a gene.
    color
        ``degree``: training edges of the gene, logarithmic; a map that only shows degree has learned nothing else.
        ``expression``: mean normalised expression. ``tf``: TFs against other genes. ``regulon:STAT1``: targets of a TF
        over all other genes, those that training saw and those that it did not in two shapes. A column of
        ``adata.var``. A Series by gene name, numbers or groups. None: one colour.
    kind
        Kind of embedding of a run: ``static``, ``graph``, ``contextual`` or ``regulation``.
    basis
        ``umap`` or ``pca``.
    key
        Key of an AnnData; default ``grn_cotrain``.
    labels
        Names to write, or how many at most, up to 60: TFs with most edges; of a regulon, the TF and its targets with
        most edges. Where a number is given, labels that would overlap are left out; names are always written.
    seed
        Seed of UMAP.
    progress
        As in :func:`~grn_cotrain.pl.embedding_coordinates`.
    ax
        Axes to draw on; default: new ones.

    Returns
    -------
    Axes
        A colour bar, where there is one, is ``ax.collections[-1].colorbar``.

    Raises
    ------
    UserError
        No such run, key, colour, TF or gene.
    """
    found = embedded(source, kind=kind, key=key)
    coordinates = embedding_coordinates(found, basis=basis, seed=seed, progress=progress)
    wanted = _Labels(found, labels)
    painted = _paint(found, color, wanted)
    with style():
        if ax is None:
            ax = new_axes(5.6 if painted.values is not None else 5.0, 4.7)
        _frame(ax, coordinates, found)
        xy_G2 = coordinates.to_numpy()
        if painted.values is not None:
            _continuous(ax, xy_G2, painted)
        else:
            _groups(ax, xy_G2, painted)
        chosen = wanted.indices(painted.first)
        place_labels(
            ax,
            xy_G2[chosen],
            [str(found.names[i]) for i in chosen],
            obstacles_N2=xy_G2,
            penalty=_COVERED,
            crowded="draw" if wanted.names is not None else "leave out",
        )
    return ax


class _Paint:
    """Either ``values`` a gene (NaN: none), or ``groups``: name, members, colour, marker and size factor of each."""

    def __init__(self, title: str, *, logarithmic: bool = False) -> None:
        self.title, self.logarithmic = title, logarithmic
        self.values: np.ndarray | None = None
        self.missing = "no value"
        self.groups: list[tuple[str, np.ndarray, str, str, float]] = []
        self.first: list[int] = []  # genes to label before others


class _Labels:
    """Which genes are named: those asked for, or TFs with most training edges."""

    def __init__(self, found: Embedded, labels: int | Sequence[str]) -> None:
        self.found, self.number, self.names = found, 0, None
        if isinstance(labels, (int, np.integer)):
            if not 0 <= labels <= _MOST_LABELS:
                raise UserError(f"labels '{labels}': give 0 to {_MOST_LABELS}, or names; more cannot be read")
            self.number = int(labels)
            return
        names = [labels] if isinstance(labels, str) else list(labels)
        unknown = [name for name in names if name not in found.names]
        if unknown:
            near = did_you_mean(unknown[0], found.names)
            raise UserError(f"labels '{unknown[0]}': no gene of this embedding{near}")
        self.names = names

    def indices(self, first: list[int]) -> list[int]:
        """Positions of the genes to name."""
        if self.names is not None:
            return [int(np.flatnonzero(self.found.names == name)[0]) for name in self.names]
        if not self.number:
            return []
        if not first and self.found.run is not None:
            network = self.found.network("labels")
            degree = network.degree()
            tfs = [name for name in degree.index if name in network.tfs]
            places = self.found.names.get_indexer(pd.Index(tfs[: self.number]))
            first = [int(i) for i in places if i >= 0]
        return first[: self.number]


def _paint(found: Embedded, color: str | pd.Series | None, wanted: _Labels) -> _Paint:
    names = found.names
    if color is None:
        paint = _Paint("")
        paint.groups = [("gene", np.ones(len(names), dtype=bool), ACCENT, "o", 1.0)]
        return paint
    if isinstance(color, pd.Series):
        return _from_series(color, names, str(color.name or "value"))
    if found.adata is not None and color in found.adata.var:
        return _from_series(found.adata.var[color], names, color)
    if color == "expression" and found.adata is not None:
        mean_G = np.asarray(found.adata.X.mean(axis=0)).ravel()
        return _from_series(pd.Series(mean_G, index=names), names, "mean expression")
    if color == "degree":
        paint = _Paint("training edges of the gene", logarithmic=True)
        degree = found.network("color 'degree'").degree()
        values = degree.reindex(names).to_numpy(np.float64, copy=True)
        paint.values, paint.missing = values, "no training edge"
        return paint
    if color == "expression":
        expression = found.network("color 'expression'").expression
        if expression is None:
            raise UserError(f"color 'expression': the cells of run '{found.run}' are gone; give a Series by gene")
        return _from_series(expression, names, "mean log-normalised expression")
    if color == "tf":
        tfs = found.network("color 'tf'").tfs
        is_tf = np.array([name in tfs for name in names])
        paint = _Paint("")
        paint.groups = [("other gene", ~is_tf, FAINT, "o", 0.7), ("TF", is_tf, VERMILION, "^", 2.2)]
        return paint
    if color.startswith(_REGULON):
        return _regulon(found, color.removeprefix(_REGULON), wanted)
    choices = ["degree", "expression", "tf", f"{_REGULON}TF"]
    columns = [] if found.adata is None else [str(name) for name in found.adata.var.columns]
    raise UserError(
        f"color '{color}': choose from {', '.join([*choices, *columns])}, or give a Series by gene"
        f"{did_you_mean(color, [*choices, *columns])}"
    )


def _from_series(series: pd.Series, names: pd.Index, title: str) -> _Paint:
    if series.index.duplicated().any():
        raise UserError(f"color '{title}': gene '{series.index[series.index.duplicated()][0]}' is in it twice")
    aligned = series.reindex(names)
    if aligned.isna().all():
        raise UserError(f"color '{title}': none of its {len(series):,} names is a gene of this embedding")
    paint = _Paint(title)
    if pd.api.types.is_numeric_dtype(aligned) and not pd.api.types.is_bool_dtype(aligned):
        paint.values = aligned.to_numpy(np.float64, copy=True)
        return paint
    text = aligned.astype(object)
    groups = [str(name) for name in pd.unique(text.dropna())]
    groups = sorted(groups, key=lambda name: (-int((text.astype(str) == name).sum()), name))
    if len(groups) > _MAX_GROUPS:
        raise UserError(f"color '{title}': {len(groups)} groups; at most {_MAX_GROUPS} are legible: merge some")
    rest = text.isna().to_numpy()
    if rest.any():
        paint.groups.append(("none", rest, FAINT, "o", 0.7))
    for index, name in enumerate(groups):
        member = (text.astype(str) == name).to_numpy() & ~rest
        paint.groups.append((name, member, (ACCENT, *OTHERS)[index], MARKERS[index], 1.3))
    return paint


def _regulon(found: Embedded, tf: str, wanted: _Labels) -> _Paint:
    network = found.network(f"color 'regulon:{tf}'")
    edges = network.edges[network.edges["source"] == tf]
    if edges.empty:
        sources = sorted(set(network.edges["source"]))
        raise UserError(f"color 'regulon:{tf}': no TF with edges{did_you_mean(tf, sources)}; it has {len(sources)} TFs")
    names = found.names
    part = edges.set_index("target")["part"].reindex(names)
    trained, held = (part == "train").to_numpy(), (part.notna() & (part != "train")).to_numpy()
    itself = np.asarray(names == tf)
    paint = _Paint("")
    rest = ~(trained | held | itself)
    paint.groups = [("other gene", rest, FAINT, "o", 0.7), (f"target of {tf}, in training", trained, ACCENT, "o", 2.0)]
    if held.any():
        paint.groups.append((f"target of {tf}, held out", held, VERMILION, "^", 2.4))
    if itself.any():
        paint.groups.append((tf, itself, GREEN, "*", 9.0))
    degree = network.degree().reindex(names).fillna(0).to_numpy()
    members = np.flatnonzero(trained | held)
    ranked = members[np.argsort(-degree[members], kind="stable")]
    paint.first = [*np.flatnonzero(itself).tolist(), *ranked.tolist()]
    return paint


def _size(num_genes: int) -> float:
    """Area of a point: large for few genes, small for many."""
    return float(np.clip(9000 / max(num_genes, 1), 3.0, 42.0))


def _frame(ax: Axes, coordinates: pd.DataFrame, found: Embedded) -> None:
    basis = coordinates.attrs["basis"]
    names = [f"{basis.upper()} {axis}" for axis in (1, 2)]
    if "explained" in coordinates.attrs:
        shares = coordinates.attrs["explained"]
        names = [f"PC {axis} ({share:.0%} of variance)" for axis, share in zip((1, 2), shares, strict=True)]
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    ax.set_xticks([])
    ax.set_yticks([])
    for name, spine in ax.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(INK)
    ax.set_title(f"{found.what}, {len(coordinates):,} genes")
    ax.margins(0.06)


def _continuous(ax: Axes, xy_G2: np.ndarray, paint: _Paint) -> None:
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    figure = ax.figure
    values = paint.values
    assert values is not None
    size, raster = _size(len(values)), len(values) > _RASTER_FROM
    has = np.isfinite(values) & ((values > 0) if paint.logarithmic else True)
    if not has.any():
        raise UserError(f"color '{paint.title}': no gene has a value")
    if not has.all():
        ax.scatter(
            xy_G2[~has, 0], xy_G2[~has, 1], s=0.6 * size, color=FAINT, alpha=_FAINTLY, linewidths=0,
            rasterized=raster, zorder=1, label=f"{paint.missing} ({int((~has).sum()):,})",
        )  # fmt: skip
    # High values are drawn last and larger: few hubs would vanish under many leaves.
    order = np.flatnonzero(has)[np.argsort(values[has], kind="stable")]
    shown = values[order]
    low, high = float(shown.min()), float(shown.max())
    if not paint.logarithmic and len(shown) > 50:
        low, high = (float(q) for q in np.quantile(shown, (0.01, 0.99)))
    high = high if high > low else low + 1
    norm = LogNorm(low, high) if paint.logarithmic else Normalize(low, high)
    from matplotlib import colormaps

    # The ends of viridis are lost on black and on white.
    colours = ListedColormap(colormaps["viridis"](np.linspace(0.12, 0.93, 256)), name="viridis_middle")
    grown = size * (0.7 + 1.8 * np.clip(norm(shown), 0, 1) ** 2)
    points = ax.scatter(
        xy_G2[order, 0],
        xy_G2[order, 1],
        c=shown,
        s=grown,
        cmap=colours,
        norm=norm,
        linewidths=0,
        rasterized=raster,
        zorder=2,
    )
    beyond = int(shown[0] < low) + 2 * int(shown[-1] > high)
    extend = ("neither", "min", "max", "both")[beyond]
    bar = figure.colorbar(points, ax=ax, shrink=0.62, aspect=22, pad=0.02, extend=extend)
    bar.set_label(paint.title)
    bar.outline.set_visible(False)
    if paint.logarithmic:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        bar.ax.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if high / low < 200 else (1,)))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    if not has.all():
        legend_below(ax, offset=_LEGEND_AT, markerscale=1.6, handletextpad=0.3)


def _groups(ax: Axes, xy_G2: np.ndarray, paint: _Paint) -> None:
    size, raster = _size(len(xy_G2)), len(xy_G2) > _RASTER_FROM
    for index, (name, member, colour, marker, factor) in enumerate(paint.groups):
        crowd = int(member.sum()) > _RASTER_FROM
        leads = factor >= 2
        least = 150.0 if marker == "*" else 20.0 if leads else 0.0
        ax.scatter(
            xy_G2[member, 0], xy_G2[member, 1], s=max(size * factor, least), c=colour, marker=marker,
            alpha=_FAINTLY if colour == FAINT else 1.0, linewidths=0.5 if leads else 0,
            edgecolors=PAPER if leads else "none", rasterized=raster and crowd,
            label=name if marker == "*" else f"{name} ({int(member.sum()):,})", zorder=1 + index,
        )  # fmt: skip
    if len(paint.groups) > 1:
        legend = legend_below(
            ax, offset=_LEGEND_AT, handletextpad=0.3, columnspacing=1.4, title=paint.title or None, title_fontsize=8
        )
        for handle, group in zip(legend.legend_handles, paint.groups, strict=True):
            handle.set_sizes([90 if group[3] == "*" else 34])  # type: ignore[union-attr]
