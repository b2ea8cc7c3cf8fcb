"""Down-sampling of counts to a lower read depth, as in scFoundation: the same cell, sequenced less deeply.

Dimension letters: B cells of a batch, C cells of a matrix, T packed tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import special
from torch import Tensor

from grn_cotrain.data.batch import PackedTokens
from grn_cotrain.data.cell_blocks import Block, Layout
from grn_cotrain.data.cells import TARGET_SUM
from grn_cotrain.data.statistics import Accumulator, Need, Statistics
from grn_cotrain.errors import UserError

__all__ = ["CountFaults", "check_counts", "counts_of", "draw_rates", "thin"]

_FRACTION = 0.05  # how far from an integer a recovered count may be; float32 stays below it up to 90 000
_EXACT = 50_000.0
_FIX = "give raw counts, or train on values as they are by the objective masked_value"


@dataclass
class Faults:
    """Reasons why counts cannot be thinned.

    Attributes
    ----------
    num_fractions
        Stored counts that are not whole numbers.
    num_short
        Cells whose total is below the sum of their counts.
    """

    num_fractions: int = 0
    num_short: int = 0


@dataclass(frozen=True)
class CountFaults(Need[Faults]):
    """Reasons why counts cannot be thinned; assays without reads are not looked at."""

    def start(self, layout: Layout) -> Accumulator[Faults]:
        """See :class:`Need`."""
        return _Counting(layout)


class _Counting(Accumulator[Faults]):
    def __init__(self, layout: Layout) -> None:
        self._counted, self._faults = layout.with_reads(), Faults()

    def add(self, block: Block) -> None:
        """See :class:`Accumulator`."""
        for place, assay in self._counted:
            raw_BF, present_B = block.raw[assay.name], block.present_BA[:, place]
            sum_B = np.asarray(raw_BF.sum(axis=1, dtype=np.float64)).ravel()[present_B]
            self._faults.num_fractions += int((raw_BF.data != np.rint(raw_BF.data)).sum())
            self._faults.num_short += int((assay.size_factor_C[block.rows_B[present_B]] < sum_B - 0.5).sum())

    def result(self) -> Faults:
        """See :class:`Accumulator`."""
        return self._faults


def check_counts(statistics: Statistics) -> None:
    """Check before training begins that these cells can be thinned.

    Raises
    ------
    UserError
        Log-scale values; counts that are not integers; a cell whose total is below the sum of its counts.
    """
    if not statistics.layout.with_reads():
        raise UserError(f"cells: log-scale values, and read depth is of counts; {_FIX}")
    faults = statistics[CountFaults()]
    if faults.num_fractions:
        raise UserError(f"cells: counts with fractions cannot be thinned read by read; {_FIX}")
    if faults.num_short:
        raise UserError(
            f"cells: {faults.num_short} of {statistics.num_cells} have totals below the sum of their counts;"
            " give total counts, not scaled size factors"
        )


def counts_of(batch: PackedTokens) -> Tensor:
    r"""Raw counts behind the visible values of a batch: ``round(expm1(values) * total / 10 000)``.

    float32 values hold a count to within 6e-7 of itself, so this is exact up to some 800 000 reads of one feature.

    Returns
    -------
    Tensor
        float64 ``[T]``, integers; 0 at CLS, at zero tokens and where ``masked_T`` hides the value.

    Raises
    ------
    UserError
        The batch has no totals (log-scale values), or what is found is far from integers.
    """
    if batch.total_B is None:
        raise UserError(f"cells: log-scale values, and read depth is of counts; {_FIX}")
    total_T = batch.total_B.double()[batch.cell_of_token_T]
    found_T = batch.values_T.double().masked_fill(batch.hidden_T, 0.0).expm1() * total_T / TARGET_SUM
    count_T = found_T.round()
    if bool((((found_T - count_T).abs() > _FRACTION) & (found_T < _EXACT)).any()):
        raise UserError(f"cells: counts with fractions cannot be thinned read by read; {_FIX}")
    return count_T


def draw_rates(
    batch: PackedTokens,
    generator: torch.Generator,
    *,
    share: float = 0.5,
    beta: tuple[float, float] = (2.0, 2.0),
    min_total: float = 1000.0,
) -> Tensor:
    r"""Draw the share of its reads that each cell keeps.

    .. math:: \gamma_b \sim \mathrm{Bernoulli}(\mathit{share}), \qquad r_b \sim \mathrm{Beta}(\alpha, \beta)

    A cell keeps all (rate 1) where :math:`\gamma_b = 0` or its total is not above ``min_total``. Two uniform numbers
    are drawn for every cell, whatever the settings: the first decides, the second is the quantile of the rate.

    Returns
    -------
    Tensor
        float64 ``[B]`` on the batch's device.
    """
    if batch.total_B is None:
        raise UserError(f"cells: log-scale values, and read depth is of counts; {_FIX}")
    draw_2B = torch.rand((2, batch.num_cells), generator=generator, device=generator.device, dtype=torch.float64).cpu()
    rate_B = torch.as_tensor(special.betaincinv(*beta, draw_2B[1].numpy()), dtype=torch.float64)
    thinned_B = (draw_2B[0] < share) & (batch.total_B.cpu() > min_total)
    return torch.where(thinned_B, rate_B, 1.0).to(batch.values_T.device)


def thin(batch: PackedTokens, rate_B: Tensor, generator: torch.Generator) -> PackedTokens:
    r"""Keep each read with the chance of its cell.

    .. math::
        x_{bg} \sim \mathrm{Binomial}(y_{bg}, r_b), \quad S_b = \sum_g x_{bg}, \quad
        v_{bg} = \log\left(1 + 10^4 x_{bg} / S_b\right)

    ``T_b``, the sum of ``y``, counts *all* features of a cell: hidden tokens too, features that are no tokens, and
    those that a cap of tokens left out. Their reads are thinned as one number, so that S and T count the same features:
    the sum of binomials of one rate is a binomial of the sum. So a hidden value is read in the cell's total alone, and
    no draw depends on how the rest is shared out. Cells of rate 1 keep their visible values to the bit.

    Parameters
    ----------
    batch
        Cells with ``total_B``; where ``masked_T`` hides values, they are taken out.
    rate_B
        Share of reads to keep, in [0, 1]; see :func:`draw_rates`.

    Returns
    -------
    PackedTokens
        The same tokens; those without a read are zeros now (value 0, bin 0), and so are hidden ones, whose targets
        stay in ``batch``. ``depth_B2`` is ``log(1 + T), log(1 + S)`` and ``total_B`` is S. Bins of the other tokens
        are those of the raw cell until they are binned again (as :func:`grn_cotrain.objectives.masking.hide` does).

    Raises
    ------
    UserError
        See :func:`counts_of`.
    """
    count_T = counts_of(batch)
    assert batch.total_B is not None
    cell_T, total_B = batch.cell_of_token_T, batch.total_B.double()
    sum_B = torch.zeros_like(total_B).index_add_(0, cell_T, count_T)
    rest_B = (total_B - sum_B).round().clamp_min(0.0)  # totals are float32: the last read of 2^24 may be lost
    all_N, rate_N = torch.cat([count_T, rest_B]), torch.cat([rate_B[cell_T], rate_B])
    device = generator.device  # device of the draws, not of the cells: the numbers do not depend on the cells' device
    kept_N = torch.binomial(all_N.to(device), rate_N.to(device), generator=generator).to(count_T.device)
    kept_T, kept_rest_B = kept_N.split([len(count_T), len(rest_B)])

    thinned_B = rate_B < 1
    depth_B = torch.zeros_like(total_B).index_add_(0, cell_T, kept_T) + kept_rest_B
    scale_B = TARGET_SUM / torch.where(depth_B > 0, depth_B, 1.0)
    new_T = (kept_T * scale_B[cell_T]).log1p().to(batch.values_T.dtype)
    values_T = torch.where(thinned_B[cell_T], new_T, batch.values_T).masked_fill(batch.hidden_T, 0.0)
    source_B = torch.where(thinned_B, depth_B.to(batch.total_B.dtype), batch.total_B)
    return replace(
        batch,
        values_T=values_T,
        bins_T=batch.bins_T.masked_fill(values_T == 0, 0),
        ranks_T=None,
        total_B=source_B,
        depth_B2=torch.stack([batch.total_B.log1p(), source_B.log1p()], dim=1),
    )
