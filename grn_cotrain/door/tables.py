"""Results as frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

from grn_cotrain.evaluate.link_table import LinkTable

__all__ = ["links_frame"]

_METRICS = ("macro_auroc", "macro_ap", "auroc", "auprc", "degree_matched_auroc")


def links_frame(table: LinkTable) -> pd.DataFrame:
    """The link table with a row for each scorer: the model first, then controls from best to worst.

    Returns
    -------
    DataFrame
        Index ``scorer``; columns ``kind``, ``macro_auroc`` with ``macro_auroc_low`` and ``macro_auroc_high`` (95 %
        interval over TFs), ``macro_ap``, ``auroc``, ``auprc``, ``degree_matched_auroc``. ``attrs`` holds ``split``,
        ``warnings``, ``notes`` and ``best_control``.
    """
    rows = table.frame[(table.frame["split"] == table.headline_split) & (table.frame["candidates"] == "all")]
    wide = rows.pivot(index=["scorer", "kind"], columns="metric", values="value").reset_index("kind")
    wide = wide.reindex(columns=["kind", *_METRICS])
    bounds = rows[rows["metric"] == _METRICS[0]].set_index("scorer")[["low", "high"]]
    for place, name in ((2, "low"), (3, "high")):
        wide.insert(place, f"{_METRICS[0]}_{name}", bounds[name].reindex(wide.index))
    wide.columns.name = None
    order = np.lexsort((-wide[_METRICS[0]].fillna(-1.0).to_numpy(), (wide["kind"] == "control").to_numpy()))
    wide = wide.iloc[order]
    wide.attrs = {
        "split": table.headline_split,
        "best_control": table.best_control(_METRICS[0]),
        "warnings": table.warnings(),
        "notes": list(table.notes),
    }
    return wide
