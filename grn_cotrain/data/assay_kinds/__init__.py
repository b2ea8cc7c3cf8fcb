"""Kinds of assays: what the values of one modality are, what a cell's depth is, and how values are normalised."""

from grn_cotrain.data.assay_kinds.base import ASSAY_KINDS, MODALITIES, TARGET_SUM, AssayKind, Modality, modality_of

__all__ = ["ASSAY_KINDS", "MODALITIES", "TARGET_SUM", "AssayKind", "Modality", "modality_of"]
