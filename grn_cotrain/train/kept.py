"""Which steps' models a run kept: sentences for the command line, the report and the figure of losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grn_cotrain.run_files import SIDES
from grn_cotrain.run_folder import RunFolder
from grn_cotrain.train.records import RunRecords

__all__ = ["KeptStep", "kept_side", "kept_step", "reached_step"]

_LINKS, _CELLS = "validation/links/selection", "validation/cells/selection"
_MACRO = "validation/links/macro_auroc"
_NAMES = {_LINKS: "AUROC of validation links", _CELLS: "minus the loss on validation cells"}


@dataclass(frozen=True)
class KeptStep:
    """The step whose model was kept, and how many steps were taken.

    Attributes
    ----------
    step, steps
        Optimizer steps.
    value, chosen_by
        Value by which the step was chosen, and its name in words; None and empty where nothing was validated.
    """

    step: int
    steps: int
    value: float | None
    chosen_by: str

    def __str__(self) -> str:
        chosen = "" if self.value is None else f" ({self.chosen_by} {self.value:.3f})"
        return f"step {self.step:,} of {self.steps:,}{chosen}"


def kept_step(run: RunFolder) -> KeptStep | None:
    """Return the step whose model a run kept, finished or not; None if none was kept yet.

    Where validation has too few links of each TF for a macro AUROC, the AUROC of all pairs stands in for it; the words
    name the one that was used.
    """
    record = run.record() if run.record_file.is_file() else {}
    records = RunRecords(run.folder).read()
    validations = [one for one in records if one.get("kind") == "validation" and one.get("best_step") is not None]
    step = record.get("best_step", validations[-1]["best_step"] if validations else None)
    if step is None:
        return None
    then = next((one for one in validations if one.get("step") == step), {})
    criterion = record.get("criterion") or next((name for name in _NAMES if then.get(name) is not None), "")
    value = record["best_value"] if "best_value" in record else then.get(criterion)
    return KeptStep(int(step), int(record.get("steps") or reached_step(run)), value, _in_words(criterion, then))


def kept_side(run: RunFolder) -> tuple[str, KeptStep] | None:
    """Return the side that did not select ``model/`` (``cells`` or ``links``) and the step of its best model.

    None if the run kept no second model: one side alone was trained, or an earlier version trained the run.
    """
    record = run.record() if run.record_file.is_file() else {}
    records = RunRecords(run.folder).read()
    validations = [one for one in records if one.get("kind") == "validation" and one.get("side_step") is not None]
    for side in SIDES:
        if not (run.side_model(side) / "config.json").is_file():
            continue
        step = record.get("side_step", validations[-1]["side_step"] if validations else 0)
        then = next((one for one in validations if one.get("step") == step), {})
        name = f"validation/{side}/selection"
        value = record["side_value"] if "side_value" in record else then.get(name)
        words = _in_words(name, then)
        return side, KeptStep(int(step), int(record.get("steps") or reached_step(run)), value, words)
    return None


def _in_words(criterion: str, then: Mapping[str, Any]) -> str:
    """Name of what a step was chosen by, given the record of its validation."""
    name = _NAMES.get(criterion, criterion)
    if criterion == _LINKS and _MACRO in then:
        name = f"{'pooled' if then[_MACRO] is None else 'macro'} {name}"
    return name


def reached_step(run: RunFolder) -> int:
    """Return the last step that a run recorded; 0 where there is none."""
    return max((int(one.get("step") or 0) for one in RunRecords(run.folder).read()), default=0)
