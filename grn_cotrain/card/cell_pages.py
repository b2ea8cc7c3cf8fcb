"""A cell card's content as sections that people read: Markdown, terminal and report show the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grn_cotrain.present import Row, Table, figure, percent, table
from grn_cotrain.present.sections import Section

__all__ = ["cell_sections"]

_TITLES = {
    "embedding": "the model",
    "with_depth": "the same with read depth (--keep-depth)",
    "pca": "PCA, 50 components",
    "log_counts": "log counts, 500 variable genes",
}


def cell_sections(content: Mapping[str, Any]) -> list[Section]:
    """Sections in reading order: labels, what explains the embedding, neighbours, origin."""
    return [_labels(content), _factors(content), _agreement(content), _identity(content)]


def _title(name: str) -> str:
    return _TITLES.get(name, f"obsm['{name}']")


def _tone(name: str) -> Any:
    return "model" if name == "embedding" else ""


def _interval(found: Mapping[str, float] | None, *, sign: bool = False) -> Any:
    if found is None:
        return figure(None)
    return figure(found["value"], found["low"], found["high"], sign=sign)


def _labels(content: Mapping[str, Any]) -> Section:
    neighbours = content["identity"]["card_made_with"]["neighbours"]
    paragraphs = [
        f"Accuracy is the share of cells whose label is the commonest one among their {neighbours} nearest other cells;"
        " nothing is fitted. F1 is that of a linear classifier on held-out cells, the mean over classes of at least 10"
        " cells. Labels had no part in training.",
    ]
    tables = []
    for column, found in content["labels"].items():
        rows = [
            Row(
                [
                    *table(["x"], [[_title(name)]]).rows[0].cells,
                    _interval(one["knn"]),
                    _interval(one["minus_pca"], sign=True),
                    _interval(one.get("probe")),
                ],
                tone=_tone(name),
            )
            for name, one in found["embeddings"].items()
        ]
        caption = (
            f"{column}: {found['num_classes']} labels of {found['num_cells']:,} cells; the commonest has"
            f" {percent(found['commonest'])}"
        )
        header = ("read from", "accuracy of neighbours", "minus PCA", "F1 of a linear classifier")
        tables.append(table(header, rows, numeric=(1, 2, 3), caption=caption))
    if not tables:
        paragraphs = ["The cells have no labels: no column of obs has 2 to 50 different values."]
    return Section("labels", "Labels", tuple(paragraphs), tuple(tables))


def _factors(content: Mapping[str, Any]) -> Section:
    tables: list[Table] = []
    for factor, found in content["factors"].items():
        is_number = any("readable" in one for one in found.values())
        header = ["embedding", "variance", "component 1", "component 2", "component 3"]
        header += ["R2 from all dimensions"] if is_number else []
        rows = []
        for name, one in found.items():
            parts = [*one["components"][:3], None, None, None][:3]
            cells = [_title(name), figure(one["variance"]), *map(figure, parts)]
            cells += [figure(one["readable"])] if is_number else []
            rows.append(Row(table([""] * len(cells), [cells]).rows[0].cells, tone=_tone(name)))
        numeric = range(1, len(header))
        tables.append(table(header, rows, numeric=numeric, caption=f"Explained by {factor}"))
    shares = [
        (_title(name), *(figure(share) for share in [*found, None, None, None][:3]))
        for name, found in content["components"].items()
    ]
    tables.append(
        table(
            ("embedding", "component 1", "component 2", "component 3"),
            shares,
            numeric=(1, 2, 3),
            caption="Share of the variance that each component has",
        )
    )
    paragraphs = (
        "Shares of variance that a linear function of the factor explains. A factor that explains much of the first"
        " component dominates distances. R2 from all dimensions is by ridge regression, each cell predicted without its"
        " fold; a number may be readable there and yet explain little of the variance. Depth differs between cell"
        " types, so PCA is the row to compare with, not 0.",
    )
    return Section("factors", "Factors that explain the embedding", paragraphs, tuple(tables))


def _agreement(content: Mapping[str, Any]) -> Section:
    rows = [(_title(name), figure(share)) for name, share in content["agreement"].items()]
    neighbours = content["identity"]["card_made_with"]["neighbours"]
    caption = f"Mean share of a cell's {neighbours} nearest cells in the model's embedding that are nearest there too"
    made = table(("neighbours by", "shared with the model"), rows, numeric=(1,), caption=caption)
    return Section("agreement", "Neighbourhoods", (), (made,))


def _identity(content: Mapping[str, Any]) -> Section:
    identity, made = content["identity"], content["identity"]["card_made_with"]
    rows = [
        ("run", str(identity["run"])),
        ("cells", f"{identity['num_cells']:,} of {identity['num_given']:,} cells of {identity['source']}"),
        ("model", f"step {identity['step']}, weights {str(identity['hashes']['weights_sha256'])[:12]}"),
        ("card", f"version {made['version']}, seed {made['seed']}"),
    ]
    return Section("identity", "Made from", tuple(content["notes"]), (table(("what", "value"), rows, numeric=()),))
