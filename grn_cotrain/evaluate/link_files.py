"""Names of the files that an evaluation of links writes, and how they are read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_file
from grn_cotrain.run_folder import RunFolder

__all__ = [
    "CURVES_FILE",
    "LINK_FILES",
    "PER_TF_FILE",
    "REPLICATES_FILE",
    "ROWS_FILE",
    "TABLE_FILE",
    "links_folder",
    "read_curves",
    "read_per_tf",
    "replace_frame",
]

TABLE_FILE = "links.json"
ROWS_FILE = "links.parquet"
REPLICATES_FILE = "links_replicates.npz"
PER_TF_FILE = "links_per_tf.parquet"
CURVES_FILE = "links_curves.parquet"
LINK_FILES = (TABLE_FILE, ROWS_FILE, REPLICATES_FILE, PER_TF_FILE, CURVES_FILE)


def links_folder(folder: str | Path) -> Path:
    """Place of the link table of a run, of a prepared folder, or of a folder named by ``--out``.

    A prepared folder keeps one table a split, in ``links/SPLIT``: where there is one only, that is it.

    Raises
    ------
    UserError
        There is no table yet, or there are several.
    """
    place = Path(folder)
    if (place / TABLE_FILE).is_file():
        return place
    if not place.is_dir():
        raise UserError(f"link table '{folder}': no such folder; give a run folder, or the --out of an evaluation")
    nested = sorted(path.parent for path in place.glob(f"links/*/{TABLE_FILE}"))
    if len(nested) == 1:
        return nested[0]
    if nested:
        raise UserError(f"link table '{folder}': holds {len(nested)} tables; name one: {', '.join(map(str, nested))}")
    raise UserError(
        f"link table '{folder}': there is no {TABLE_FILE}; evaluate first: grn-cotrain evaluate links {folder}"
    )


def read_per_tf(folder: str | Path) -> pd.DataFrame:
    """Scores of single TFs among all candidates, as the evaluation wrote them.

    Returns
    -------
    DataFrame
        ``split, scorer, kind, tf, num_targets, num_pairs, auroc, ap``: test positives and candidates of each TF; both
        scores are NaN where a TF has too few positives for the macro metrics, so that their mean is the macro metric.

    Raises
    ------
    UserError
        There is no link table, or one without these scores.
    """
    return _read(folder, PER_TF_FILE, "scores of single TFs")


def read_curves(folder: str | Path) -> pd.DataFrame:
    """ROC, precision-recall and calibration curves among all candidates, as the evaluation wrote them.

    Returns
    -------
    DataFrame
        ``split, scorer, kind, curve, x, y, n``; see :mod:`grn_cotrain.evaluate.curves`.

    Raises
    ------
    UserError
        There is no link table, or one without curves.
    """
    return _read(folder, CURVES_FILE, "curves")


def _read(folder: str | Path, name: str, what: str) -> pd.DataFrame:
    place = links_folder(folder)
    again = f"evaluate again: grn-cotrain evaluate links {folder}"
    RunFolder(place).check_tables([name])
    try:
        return pd.read_parquet(place / name)
    except FileNotFoundError:
        raise UserError(f"link table '{place}': it has no {name} ({what}); {again}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"link table '{place}': {name} cannot be read ({error}); {again}") from None


def replace_frame(frame: pd.DataFrame | None, path: Path) -> None:
    """Write a frame as parquet, atomically; None removes the file, which would belong to an older table."""
    if frame is None:
        path.unlink(missing_ok=True)
        return
    with atomic_file(path) as temporary:
        frame.to_parquet(temporary, index=False)
