"""The link table: one row per split x scorer x metric, kept with its bootstrap replicates, printed and written.

Dimension letters: L rows, B bootstrap replicates.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from grn_cotrain.data.io.packed import DAMAGE
from grn_cotrain.errors import UserError, did_you_mean
from grn_cotrain.evaluate.bootstrap import MIN_TFS, SeedResult, interval
from grn_cotrain.evaluate.calibration import calibration_sentence
from grn_cotrain.evaluate.link_files import (
    CURVES_FILE,
    LINK_FILES,
    PER_TF_FILE,
    REPLICATES_FILE,
    ROWS_FILE,
    TABLE_FILE,
    replace_frame,
)
from grn_cotrain.evaluate.link_rows import HEADLINE, TITLES, facts, links_table, records
from grn_cotrain.files import atomic_file, read_json, sha256_file, write_json
from grn_cotrain.present import LINK_METRICS, Table, measured
from grn_cotrain.present.terminal import print_lines, print_table
from grn_cotrain.run_folder import RunFolder

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["COLUMNS", "LinkTable"]

_SHAPE = {
    "headline_split": str,
    "bootstrap": {"keys": {str: str}, "two_way": bool},
    "audits": {str: str},
    "notes": [str],
    "reliability": {str: [{str: (float, type(None))}]},
}
COLUMNS = {
    "split": "str",
    "scorer": "str",
    "kind": "str",
    "metric": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "num_tfs": "int64",
    "num_pairs": "int64",
    "prevalence": "float64",
    "seconds": "float64",
    "seed": "int64",
    "track": "str",
    "candidates": "str",
    "split_hash": "str",
    "recipe_hash": "str",
    "commit": "str",
}
_FORMAT = 1
_LEGEND = (
    "matched: macro concordance among targets of equal in-degree; residual: within strata of the additive model's "
    "logit; 0.5 means nothing beyond degree. pair share: share of the scores' variance that neither the TF's mean nor "
    "the target's explains; own - other: precision at 50 on a TF's own positives minus that on other TFs' positives. "
    "Intervals: 95 %, bootstrap over {units}. * best control of a column."
)


@dataclass(frozen=True, eq=False)
class LinkTable:
    """Rows, their replicates, and notes to read with them.

    Attributes
    ----------
    frame
        Columns as in :data:`COLUMNS`.
    replicates_LB
        float32, one row a row of ``frame``.
    keys
        Bootstrap key of each split name: differences are paired only where keys are equal.
    two_way
        Whether held-out genes were resampled too.
    audits
        Audit text of each split.
    notes
        Lines about what was left out, recomputed or merged.
    reliability
        Reliability bins of each scorer with probabilities.
    headline_split
        Split name that is printed: the split, or all folds together.
    per_tf, curves
        Scores of single TFs, and ROC, precision-recall and calibration curves, among all candidates
        (:mod:`grn_cotrain.evaluate.curves`); None in tables made by hand or written before they were kept.
    """

    frame: pd.DataFrame
    replicates_LB: np.ndarray
    keys: Mapping[str, str]
    two_way: bool
    headline_split: str
    audits: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    reliability: Mapping[str, list[dict[Any, Any]]] = field(default_factory=dict)
    per_tf: pd.DataFrame | None = None
    curves: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        if list(self.frame.columns) != list(COLUMNS) or len(self.frame) != len(self.replicates_LB):
            raise ValueError("frame and replicates do not fit together")

    # ---------------------------------------------------------------- reading one result

    def row(self, scorer: str, metric: str, *, split: str | None = None, candidates: str = "all") -> int:
        """Position of the row of a scorer and metric; by default of the headline split."""
        frame = self.frame
        chosen = (frame["split"] == (split or self.headline_split)) & (frame["candidates"] == candidates)
        found = np.flatnonzero(chosen & (frame["scorer"] == scorer) & (frame["metric"] == metric))
        if not len(found):
            scorers = list(frame.loc[chosen & (frame["metric"] == metric), "scorer"])
            raise UserError(
                f"link table: no row for scorer '{scorer}', metric '{metric}', candidates '{candidates}'; "
                f"scorers of this metric: {', '.join(scorers) or 'none'}{did_you_mean(scorer, scorers)}"
            )
        return int(found[0])

    def result(self, scorer: str, metric: str, *, split: str | None = None, candidates: str = "all") -> SeedResult:
        """Input of :func:`~grn_cotrain.evaluate.bootstrap.beats`, from one run's table."""
        row = self.row(scorer, metric, split=split, candidates=candidates)
        record = self.frame.iloc[row]
        key = f"{self.keys[record['split']]}-{candidates}"
        return SeedResult(
            int(record["seed"]), float(record["value"]), self.replicates_LB[row], key, int(record["num_tfs"])
        )

    def difference(
        self, a: str, b: str, metric: str = HEADLINE, *, split: str | None = None, candidates: str = "all"
    ) -> tuple[float, float, float]:
        """Paired difference of two scorers of this table: value, low, high."""
        rows = [self.row(scorer, metric, split=split, candidates=candidates) for scorer in (a, b)]
        values = self.frame["value"].to_numpy()[rows]
        return interval(float(values[0] - values[1]), self.replicates_LB[rows[0]] - self.replicates_LB[rows[1]])

    def best_control(self, metric: str = HEADLINE, *, split: str | None = None, candidates: str = "all") -> str | None:
        """Control with the best value; None without controls. It is chosen on the test set, in the controls' favour."""
        frame = self.frame
        chosen = (frame["split"] == (split or self.headline_split)) & (frame["candidates"] == candidates)
        controls = frame[chosen & (frame["metric"] == metric) & (frame["kind"] == "control")].dropna(subset="value")
        if controls.empty:
            return None
        values = controls["value"].to_numpy()
        lower = metric in LINK_METRICS and LINK_METRICS[metric].direction == "lower"
        best = int(values.argmin() if lower else values.argmax())
        return str(controls["scorer"].iloc[best])

    def difference_to_best_control(self, metric: str = HEADLINE, *, candidates: str = "all") -> pd.DataFrame:
        """Each model and ablation minus the best control: columns split, scorer, control, metric, value, low, high."""
        records = []
        for split in self.frame["split"].unique():
            control = self.best_control(metric, split=split, candidates=candidates)
            mine = self.frame[(self.frame["split"] == split) & (self.frame["kind"] != "control")]
            mine = mine[(mine["metric"] == metric) & (mine["candidates"] == candidates)]
            if control is None:
                continue
            for scorer in mine["scorer"]:
                value, low, high = self.difference(scorer, control, metric, split=split, candidates=candidates)
                records.append((split, scorer, control, metric, value, low, high))
        return pd.DataFrame(records, columns=["split", "scorer", "control", "metric", "value", "low", "high"])

    # ---------------------------------------------------------------- files

    def write(self, folder: str | Path) -> None:
        """Write the files of :mod:`~grn_cotrain.evaluate.link_files`, each atomically; ``links.json`` comes last."""
        folder = Path(folder)
        with atomic_file(folder / REPLICATES_FILE) as temporary:
            np.savez_compressed(temporary, replicates=self.replicates_LB.astype(np.float32))
        replace_frame(self.frame, folder / ROWS_FILE)
        replace_frame(self.per_tf, folder / PER_TF_FILE)
        replace_frame(self.curves, folder / CURVES_FILE)
        rows = [
            {name: _plain(value) for name, value in zip(self.frame.columns, record, strict=True)}
            for record in self.frame.itertuples(index=False, name=None)
        ]
        header = {
            "format_version": _FORMAT,
            "headline_split": self.headline_split,
            "bootstrap": {"replicates": self.replicates_LB.shape[1], "two_way": self.two_way, "keys": dict(self.keys)},
            "audits": dict(self.audits),
            "warnings": self.warnings(),
            "notes": list(self.notes),
            "reliability": json.loads(json.dumps(self.reliability)),
        }
        # A table outside a run is in no manifest.
        sums = {name: sha256_file(folder / name) for name in LINK_FILES[1:] if (folder / name).is_file()}
        write_json(folder / TABLE_FILE, {**header, "files": sums, "rows": rows}, checked=True)
        RunFolder(folder).register(LINK_FILES)

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read what :meth:`write` wrote."""
        folder = Path(folder)
        RunFolder(folder).check_tables(LINK_FILES)
        stored = read_json(folder / TABLE_FILE, what="link table", shape=_SHAPE)
        try:
            frame = pd.read_parquet(folder / ROWS_FILE)
            beside = [
                pd.read_parquet(folder / name) if (folder / name).is_file() else None
                for name in (PER_TF_FILE, CURVES_FILE)
            ]
            with np.load(folder / REPLICATES_FILE, allow_pickle=False) as arrays:
                replicates_LB = arrays["replicates"]
            table = cls(
                frame=frame[list(COLUMNS)],
                replicates_LB=replicates_LB,
                keys=stored["bootstrap"]["keys"],
                two_way=stored["bootstrap"]["two_way"],
                headline_split=stored["headline_split"],
                audits=stored["audits"],
                notes=stored["notes"],
                reliability=stored["reliability"],
                per_tf=beside[0],
                curves=beside[1],
            )
        except (OSError, KeyError, TypeError, ValueError, *DAMAGE) as error:
            raise UserError(f"link table '{folder}': cannot be read ({error}); evaluate the run again") from None
        for name, recorded in stored.get("files", {}).items():
            if name in LINK_FILES and (folder / name).is_file() and sha256_file(folder / name) != recorded:
                raise UserError(
                    f"link table '{folder}': {name} is not the file that was written with it; evaluate again"
                )
        return table

    # ---------------------------------------------------------------- printing

    def calibration(self) -> list[str]:
        """Return a sentence for each model with probabilities: what they promise and what is seen."""
        if self.curves is None:
            return []
        mine = self.curves[(self.curves["split"] == self.headline_split) & (self.curves["curve"] == "calibration")]
        mine = mine[mine["kind"] != "control"]
        return [calibration_sentence(bins, str(scorer)) for scorer, bins in mine.groupby("scorer", sort=False)]

    def warnings(self) -> list[str]:
        """Reasons why the results are inconclusive."""
        frame = self.frame
        headline = frame[(frame["split"] == self.headline_split) & (frame["metric"] == HEADLINE)]
        num_tfs = int(headline.loc[headline["candidates"] == "all", "num_tfs"].max()) if len(headline) else 0
        if num_tfs < MIN_TFS:
            return [f"only {num_tfs} TFs have enough test positives: so few TFs support no claim (at least {MIN_TFS})"]
        return []

    def part(self, candidates: str = "all") -> pd.DataFrame:
        """Return the rows of the headline split for a set of candidates."""
        frame = self.frame
        return frame[(frame["split"] == self.headline_split) & (frame["candidates"] == candidates)]

    def tables(self) -> list[Table]:
        """Return the tables that are printed: one for each set of candidates that the headline split has."""
        found = []
        for candidates in TITLES:
            part = self.part(candidates)
            if len(part):  # a fold may lack a candidate set (no degree-matched pair), and so may all folds together
                best = partial(self.best_control, candidates=candidates)
                caption = facts(part, self.headline_split, candidates)
                found.append(links_table([("", part)], candidates, best=best, caption=caption))
        return found

    def render(self, console: Console | None = None) -> None:
        """Print the table: rich on a terminal, aligned plain lines elsewhere."""
        if console is None:
            from rich.console import Console as RichConsole

            console = RichConsole()
        for table in self.tables():
            print_table(table, console)
            if not console.is_terminal:
                print_lines(console, "")
        lines = [_LEGEND.format(units="TFs x held-out genes" if self.two_way else "TFs")]
        best = self.difference_to_best_control()
        for record in records(best[best["split"] == self.headline_split]):
            change = measured(record.value, record.low, record.high, sign=True)
            lines.append(f"{record.scorer} - {record.control} (best control, macro AUROC): {change}")
        notes = [f"note: {note}" for note in self.notes]
        print_lines(console, *lines, *self.calibration(), *self.audits.values(), *notes)
        print_lines(console, *(f"warning: {warning}" for warning in self.warnings()), style="bold yellow")


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
