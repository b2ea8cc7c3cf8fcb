"""What each encoder is trained with in tests of the whole product."""

from __future__ import annotations

from typing import Any

__all__ = ["SETTINGS"]

#: Encoder -> tokens and objectives of its paper; masked values over the non-zeros where nothing is said.
SETTINGS: dict[str, dict[str, Any]] = {
    "scbert": {
        "model": {"tokens": {"zeros_per_cell": "all"}},
        "objectives": {"masked_value": {"loss": "cross_entropy"}, "link_prediction": {}},
    },
    "scmbert": {"objectives": {"modality": {}, "link_prediction": {}}},
    "xtrimogene": {
        "model": {"tokens": {"zeros_per_cell": 20}},
        "objectives": {"masked_value": {"mask_zeros": True, "mask_balance": "equal_count"}, "link_prediction": {}},
    },
    "scfoundation": {"objectives": {"read_depth": {}, "link_prediction": {}}},
    "geneformer": {
        "encoder": {"num_layers": 2},
        "objectives": {"masked_gene": {}, "masked_value": {}, "link_prediction": {}},
    },
    "scgpt": {"objectives": {"generative": {}, "link_prediction": {}}},
}
