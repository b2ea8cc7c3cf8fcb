"""The one table of nodes, which cell tokens and the graph both read: genes, and features that are graph nodes.

Dimension letters: D width, F columns of inductive features, G nodes (genes first), R rank of loadings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from grn_cotrain.data.loadings import LoadingsMethod
from grn_cotrain.nn.features import FEATURE_SOURCES
from grn_cotrain.recipe import TableConfig

__all__ = ["NodeTable", "fit_to_width", "loadings_method", "small_noise"]

_NOISE = 0.02  # root mean square of the noise that fills missing components and rows; the table's own is 1
_RIDGE = 1e-3  # penalty, relative to the mean squared feature, of the regression of rows on features


def loadings_method(config: TableConfig) -> LoadingsMethod | None:
    """Which loadings ``init_GD`` must hold for this table; None if it starts from random rows."""
    if config.mode == "frozen_pca":
        return "pca"
    return None if config.mode == "random" or config.init == "random" else config.init


def fit_to_width(loadings_GR: Tensor, width: int) -> Tensor:
    """Cut or fill loadings to ``width`` columns and scale them to unit root mean square over the whole table.

    One factor scales all rows, so that relative lengths and angles survive. Columns past the rank, and rows of genes
    without loadings (constant expression), receive small noise, or no gradient could distinguish them.
    """
    kept_GR = loadings_GR[:, :width].float()
    rows_GD = torch.zeros(len(kept_GR), width)
    rows_GD[:, : kept_GR.shape[1]] = kept_GR
    empty_GD = rows_GD.eq(0).all(1, keepdim=True) | (torch.arange(width) >= kept_GR.shape[1])
    scale = rows_GD.square().mean().sqrt()
    if scale > 0:
        rows_GD = rows_GD / scale
    return torch.where(empty_GD, _NOISE * torch.randn_like(rows_GD), rows_GD)


class NodeTable(nn.Module):
    r"""Learned id rows on top of the prediction from each node's features; other features have no row here.

    .. math:: e_g = c + \sum_k x_{gk}^\top P_k + m_g\, \delta_g

    ``x_k`` are the inductive features of source k, scaled to a mean squared row norm of 1; ``P_k`` their linear maps;
    ``c`` a shared row; ``delta`` the id row, a *deviation* from what the features predict; ``m_g`` 0 for genes never
    seen in training and, in training, for a share ``id_dropout`` of the genes, drawn again at each call.

    Scale under dropout: nothing is divided by 1 - p. At the start the predicted part is the ridge regression of the
    starting rows on the features, and ``delta`` the rest, so the table begins exactly at the starting rows (unit root
    mean square) and a dropped gene at the best linear guess of its own row. A gene without an id row is thus what it
    was in training when dropped, at the same scale. With random starting rows, which nothing predicts, the two parts
    begin with equal variance. Without features a dropped gene is the shared row ``c`` ("unknown gene"), of unit RMS.

    Modes: ``trainable`` is the above. ``frozen_pca`` and ``random`` are a fixed table, PCA rows or random rows: no
    parameter, no features, no dropout, so that the ablation shows what the fixed rows alone can do.

    Parameters
    ----------
    num_nodes
        G.
    width
        D.
    config
        ``init``, ``mode``, ``id_dropout`` (see :class:`~grn_cotrain.recipe.TableConfig`).
    init_GD
        Loadings ``[G, R]`` of any rank R where :func:`loadings_method` names a method (cut or filled to D, scaled to
        unit RMS); not read otherwise.
    features
        Source name -> float array ``[G, F]``, finite; see :func:`~grn_cotrain.nn.inductive.inductive_features`.
    known_G
        bool ``[G]``, False for genes that training never sees; default all True. Saved with the weights.

    Raises
    ------
    ValueError
        Shapes that do not fit ``num_nodes``; values that are not finite; no ``init_GD`` where one is needed.
    """

    known_G: Tensor

    def __init__(
        self,
        num_nodes: int,
        width: int,
        *,
        config: TableConfig,
        init_GD: np.ndarray | None = None,
        features: Mapping[str, np.ndarray] | None = None,
        known_G: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_nodes, self.width = num_nodes, width
        method = loadings_method(config)
        start_GD = None
        if method is not None:
            if init_GD is None:
                raise ValueError(f"init_GD: missing; a table of mode '{config.mode}' starts from {method} loadings")
            start_GD = fit_to_width(_checked("init_GD", init_GD, num_nodes), width)
        if config.mode != "trainable":
            self.register_buffer("rows_GD", torch.randn(num_nodes, width) if start_GD is None else start_GD)
            return
        known = np.ones(num_nodes, dtype=bool) if known_G is None else np.asarray(known_G, dtype=bool)
        self.register_buffer("known_G", torch.from_numpy(known.copy()))
        self.sources = tuple(features or ())
        self.projections = nn.ParameterList()
        for name, array in (features or {}).items():
            values_GF = _checked(f"features '{name}'", array, num_nodes)
            norm = values_GF.square().sum(1).mean().sqrt()
            self.register_buffer(f"feature_{name}", values_GF / norm if norm > 0 else values_GF)
            self.projections.append(nn.Parameter(torch.zeros(values_GF.shape[1], width)))
        self.shared_D = nn.Parameter(torch.zeros(width))
        self.id_GD = nn.Parameter(torch.zeros(num_nodes, width))
        self._start(start_GD)

    @property
    def features(self) -> dict[str, Tensor]:
        """Scaled inductive features by source."""
        return {name: self.get_buffer(f"feature_{name}") for name in self.sources}

    def forward(self, *, generator: torch.Generator | None = None) -> Tensor:
        """Return the table ``[G, D]``.

        Parameters
        ----------
        generator
            Draws the id-dropout. Pass one in training; seed it alike for the micro-batches of a step to share a draw.

        Raises
        ------
        ValueError
            Training with id-dropout and no generator.
        """
        if self.config.mode != "trainable":
            return self.get_buffer("rows_GD")
        has_id_G = self.known_G
        if self.training and self.config.id_dropout > 0:
            if generator is None:
                raise ValueError("generator: missing; id-dropout in training draws from a generator, pass one")
            draw_G = torch.rand(self.num_nodes, generator=generator, device=generator.device)
            has_id_G = has_id_G & (draw_G >= self.config.id_dropout).to(has_id_G.device)
        return self._predicted() + has_id_G[:, None] * self.id_GD

    @torch.no_grad()
    def grow_from(self, old: NodeTable, kept_G: Tensor, *, generator: torch.Generator) -> None:
        """Take the rows of a smaller table; those of new genes follow the prediction from their features.

        A new gene reads features of portable sources (see :class:`~grn_cotrain.nn.features.FeatureSource`), which this
        table was built with, and the mean features of the old genes for other sources. Its id row is the mean of the
        known old ones plus noise that makes rows differ before any gradient step, 0.02 of the table's root mean square.
        Without portable sources that is the mean row plus noise.

        Parameters
        ----------
        old
            Table with the same mode and sources.
        kept_G
            int64 row of this table for each row of ``old``.
        generator
            Draws the noise.
        """
        is_new_G = torch.ones(self.num_nodes, dtype=torch.bool)
        is_new_G[kept_G] = False
        if self.config.mode != "trainable":
            rows_GD, old_GD = self.get_buffer("rows_GD"), old.get_buffer("rows_GD")
            rows_GD[kept_G] = old_GD
            rows_GD[is_new_G] = old_GD.mean(0) + small_noise(rows_GD[is_new_G], old_GD, generator)
            return
        self.shared_D.copy_(old.shared_D)
        for projection_FD, before_FD in zip(self.projections, old.projections, strict=True):
            projection_FD.copy_(before_FD)
        for name, before_GF in old.features.items():
            values_GF = self.get_buffer(f"feature_{name}").clone()
            if not FEATURE_SOURCES.get(name).portable:
                values_GF[is_new_G] = before_GF.mean(0)
            values_GF[kept_G] = before_GF
            self.register_buffer(f"feature_{name}", values_GF)
        self.known_G[is_new_G], self.known_G[kept_G] = True, old.known_G
        ids_GD = old.id_GD[old.known_G] if bool(old.known_G.any()) else old.id_GD
        self.id_GD[is_new_G] = ids_GD.mean(0) + small_noise(
            self.id_GD[is_new_G], old._predicted() + old.id_GD, generator
        )
        self.id_GD[kept_G] = old.id_GD

    def _predicted(self) -> Tensor:
        """Prediction from the features: ``[G, D]``."""
        predicted_GD = self.shared_D.expand(self.num_nodes, -1)
        for values_GF, projection_FD in zip(self.features.values(), self.projections, strict=True):
            predicted_GD = predicted_GD + values_GF @ projection_FD
        return predicted_GD

    @torch.no_grad()
    def _start(self, start_GD: Tensor | None) -> None:
        """Share the starting rows between features and ids."""
        if start_GD is None:  # random rows: half of the variance from each part
            share = 0.5 if self.sources else 1.0
            for projection_FD in self.projections:
                projection_FD.normal_(std=(share / len(self.sources)) ** 0.5)
            self.id_GD.normal_(std=0.5**0.5)
            if not self.sources:
                self.shared_D.normal_()
            return
        if not self.sources:
            self.shared_D.normal_()
        else:
            # Genes that training never sees must not shape the maps they will be read through.
            joined_GF = torch.cat(list(self.features.values()), dim=1).double()
            shared_D, weights_FD = _ridge(joined_GF[self.known_G], start_GD[self.known_G].double())
            self.shared_D.copy_(shared_D)
            for projection_FD, part_FD in zip(
                self.projections, weights_FD.split([len(p) for p in self.projections]), strict=True
            ):
                projection_FD.copy_(part_FD)
        self.id_GD.copy_(start_GD - self._predicted())


def small_noise(rows_GD: Tensor, like_GD: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of the shape of ``rows_GD``, a fiftieth of the root mean square of ``like_GD``."""
    return _NOISE * like_GD.square().mean().sqrt() * torch.randn(rows_GD.shape, generator=generator)


def _checked(what: str, array: np.ndarray, num_nodes: int) -> Tensor:
    if array.ndim != 2 or len(array) != num_nodes:
        raise ValueError(f"{what}: shape {array.shape}; the table has {num_nodes} rows")
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: holds values that are not finite")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _ridge(features_GF: Tensor, rows_GD: Tensor) -> tuple[Tensor, Tensor]:
    """Intercept ``[D]`` and weights ``[F, D]`` of the ridge regression of rows on features; the intercept is free."""
    if not len(rows_GD):
        return rows_GD.new_zeros(rows_GD.shape[1]), rows_GD.new_zeros(features_GF.shape[1], rows_GD.shape[1])
    mean_F, mean_D = features_GF.mean(0), rows_GD.mean(0)
    centred_GF = features_GF - mean_F
    gram_FF = centred_GF.T @ centred_GF
    penalty = _RIDGE * gram_FF.diagonal().mean().clamp_min(1e-12)
    weights_FD = torch.linalg.solve(
        gram_FF + penalty * torch.eye(len(gram_FF), dtype=gram_FF.dtype), centred_GF.T @ (rows_GD - mean_D)
    )
    return mean_D - mean_F @ weights_FD, weights_FD
