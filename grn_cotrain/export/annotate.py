"""How results are added to an AnnData: under documented keys only, never over what is there, with their origin in uns.

``varm[key]`` or ``obsm[key]`` holds the vectors, or ``obs[key]`` a column, ``uns["grn_cotrain"][key]`` where they came
from. Nothing else of the object is touched.

Dimension letters: N rows of the axis (cells or features), D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from grn_cotrain.errors import UserError

if TYPE_CHECKING:
    import anndata

__all__ = ["UNS_KEY", "annotate", "annotate_obs", "refuse_taken"]

UNS_KEY = "grn_cotrain"
Slot = Literal["varm", "obsm", "obs"]


def refuse_taken(adata: anndata.AnnData, slot: Slot, keys: list[str], *, overwrite: bool) -> None:
    """Raise unless every key is free, or may be overwritten; also where ``uns`` has no place for the origin."""
    for key in keys:
        if not key or "/" in key or key == "_index":
            raise UserError(
                f"key_added '{key}': not a name that h5ad can store; give one without '/', and not '_index'"
            )
    held = getattr(adata, slot)
    taken = [key for key in keys if key in held]
    if taken and not overwrite:
        raise UserError(
            f"{slot} '{taken[0]}': is there already; give another key (--key-added) or allow it to be replaced"
            " (--overwrite)"
        )
    if not isinstance(adata.uns.get(UNS_KEY, {}), Mapping):
        raise UserError(f"uns '{UNS_KEY}': is there already and no mapping; rename it (adata.uns.pop('{UNS_KEY}'))")


def annotate(adata: anndata.AnnData, slot: Slot, key: str, values_ND: np.ndarray, origin: Mapping[str, Any]) -> None:
    """Write ``values_ND`` under ``key``, and its origin in ``uns``; other entries of ``uns["grn_cotrain"]`` are kept.

    Call :func:`refuse_taken` first.
    """
    getattr(adata, slot)[key] = np.ascontiguousarray(values_ND, dtype=np.float32)
    _note_origin(adata, key, origin)


def annotate_obs(adata: anndata.AnnData, columns: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Write columns of ``obs``, and their origin in ``uns`` under the name of the first.

    Call :func:`refuse_taken` first.
    """
    for key, values_N in columns.items():
        adata.obs[key] = values_N
    _note_origin(adata, next(iter(columns)), origin)


def _note_origin(adata: anndata.AnnData, key: str, origin: Mapping[str, Any]) -> None:
    adata.uns[UNS_KEY] = {**adata.uns.get(UNS_KEY, {}), key: {name: _storable(value) for name, value in origin.items()}}


def _storable(value: Any) -> Any:
    """Lists as arrays, which is what h5ad and zarr store."""
    if isinstance(value, (list, tuple)):
        return np.asarray(value, dtype=str) if not value or isinstance(value[0], str) else np.asarray(value)
    return value
