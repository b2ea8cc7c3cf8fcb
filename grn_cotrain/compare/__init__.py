"""One recipe in several variants: a resumable grid of runs, and one table with paired differences.

:mod:`~grn_cotrain.compare.vary` makes the arms, :mod:`~grn_cotrain.compare.grid` runs them, each cell in a process of
its own, :mod:`~grn_cotrain.compare.pairing` compares two arms and :mod:`~grn_cotrain.compare.table` makes the table.
"""
