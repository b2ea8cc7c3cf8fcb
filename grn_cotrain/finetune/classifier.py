"""A fine-tuned model with its head: probabilities of classes for any cells, saved as safetensors and JSON.

Dimension letters: B cells of a batch, C classes, N rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from grn_cotrain.apply import Encoder, OpenRun, over_cells
from grn_cotrain.apply.cells import Progress
from grn_cotrain.config import ComponentSpec, to_dict
from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.tokens import Tokenizer
from grn_cotrain.errors import UserError
from grn_cotrain.files import read_json, sha256_file, write_json
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.model_io import read_tensors, save_model
from grn_cotrain.nn.heads import HEADS, Head

__all__ = ["CLASSES_FILE", "HEAD_FILE", "Classifier"]

CLASSES_FILE, HEAD_FILE = "classes.json", "head.safetensors"
_FORMAT_VERSION = 1


@dataclass(eq=False)
class Classifier:
    """A cell-type classifier: cells -> encoder -> head -> softmax.

    Attributes
    ----------
    model, head
        Encoder and head, both in evaluation mode.
    spec
        Name and options of the head.
    classes
        Names of the classes, in the order of the logits.
    label
        Column of ``obs`` that they were learned from.
    """

    model: CoTrainNetwork
    head: Head
    spec: ComponentSpec
    classes: tuple[str, ...]
    label: str

    @classmethod
    def new(
        cls, model: CoTrainNetwork, spec: ComponentSpec, classes: tuple[str, ...], label: str, *, seed: int
    ) -> Classifier:
        """With an untrained head, whose weights the seed decides.

        Raises
        ------
        UserError
            Fewer than two classes; unknown head or option.
        """
        if len(classes) < 2:
            raise UserError(f"label '{label}': {len(classes)} class among the training cells; give two or more")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = _build_head(spec, model, len(classes))
        return cls(model, head, spec, classes, label)

    def logits(self, batch: PackedTokens, encoder: Encoder) -> Tensor:
        """Logits ``[B, C]``; ``encoder`` is the model bound to the rows of its genes."""
        logits_BC: Tensor = self.head(batch, encoder.cells(batch))
        return logits_BC.float()

    def log_probabilities(
        self, tokenizer: Tokenizer, rows: np.ndarray, *, progress: Progress | None = None
    ) -> np.ndarray:
        """Log-probabilities float32 ``[N, C]`` of the cells at ``rows``, in that order, without randomness.

        Cells over ``max_tokens`` show their highest values. Model and head must be in evaluation mode.
        """
        parts: list[np.ndarray] = [np.empty((0, len(self.classes)), np.float32)]

        def read(batch: PackedTokens, encoder: Encoder) -> None:
            parts.append(self.logits(batch, encoder).log_softmax(1).cpu().numpy())

        over_cells(self.model, tokenizer, read, rows=rows, progress=progress)
        return np.concatenate(parts)

    def save(self, folder: Path, *, backend: str) -> None:
        """Write ``model/``, the head and ``classes.json`` into a folder that the caller makes whole or not at all."""
        save_model(folder / "model", self.model, backend=backend, meta=self.model.meta)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.head.state_dict().items()}
        save_file(state, folder / HEAD_FILE)
        about = {
            "format_version": _FORMAT_VERSION,
            "label": self.label,
            "classes": list(self.classes),
            "head": {"name": self.spec.name, **to_dict(self.spec.options)},
            "sha256": {
                HEAD_FILE: sha256_file(folder / HEAD_FILE),
                "model.safetensors": sha256_file(folder / "model" / "model.safetensors"),
            },
        }
        write_json(folder / CLASSES_FILE, about)

    @classmethod
    def of(cls, run: str | Path | OpenRun) -> Classifier:
        """Read a fine-tuned run: its model with classes and head, in evaluation mode.

        Raises
        ------
        UserError
            No fine-tuned run; files missing, damaged or exchanged.
        """
        opened = OpenRun.of(run)
        folder = opened.folder.folder
        file = folder / CLASSES_FILE
        if not file.is_file():
            raise UserError(
                f"run '{folder}': it has no classes ({CLASSES_FILE}); fine-tune it first:"
                f" grn-cotrain finetune {folder} CELLS --label COLUMN --out DIR"
            )
        about = read_json(file, what="classes", shape={})
        try:
            version, label = about["format_version"], str(about["label"])
            classes, sums = tuple(map(str, about["classes"])), dict(about["sha256"])
            options = dict(about["head"])
            spec = ComponentSpec(str(options.pop("name")), options)
        except (KeyError, TypeError, ValueError):
            raise UserError(f"classes '{file}': not written by `grn-cotrain finetune`; copy the folder whole") from None
        if version != _FORMAT_VERSION:
            raise UserError(
                f"classes '{file}': format_version {version!r}, this version reads {_FORMAT_VERSION};"
                " install the version that wrote it"
            )
        model = opened.model
        if opened.config["sha256"]["model.safetensors"] != sums.get("model.safetensors"):
            raise UserError(f"classes '{file}': belongs to another model; copy the folder whole")
        head = _build_head(spec, model, len(classes))
        state = read_tensors(folder / HEAD_FILE, sha256=sums.get(HEAD_FILE))
        try:
            head.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"head '{folder / HEAD_FILE}': does not fit its classes ({error})") from None
        return cls(model, head.eval(), spec, classes, label)


def _build_head(spec: ComponentSpec, model: CoTrainNetwork, num_classes: int) -> Head:
    return HEADS.build(
        spec.name, spec.options, path=f"head.{spec.name}", width=model.config.width, num_classes=num_classes
    )
