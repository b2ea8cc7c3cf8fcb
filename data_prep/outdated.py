"""Symbols of genes that the current annotation does not know: marked, counted and named; nothing is renamed here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from grn_cotrain.data.backed import BackedStore
from grn_cotrain.data.cells import MemoryStore
from grn_cotrain.data.io.name_lists import read_names
from grn_cotrain.data.io.name_tables import fold
from grn_cotrain.data.io.names import AliasTable
from grn_cotrain.data.vocab import is_spike_in, name_some
from grn_cotrain.errors import UserError

from .fetch import resolve_source

__all__ = ["with_marked_symbols"]

_LEAST_CURRENT = 0.5  # an annotation that lacks more of the genes is of another species, or a list of something else


def with_marked_symbols(
    cells: MemoryStore | BackedStore, current_symbols: str | Path | None, aliases: AliasTable | None, notes: list[str]
) -> MemoryStore | BackedStore:
    """Mark the genes whose symbol is outdated in the vocabulary of the cells.

    Parameters
    ----------
    current_symbols
        File of current symbols; a gene is outdated if neither its symbol nor its id is among them. None: a gene is
        outdated if the table of aliases knows its symbol as a former one of other genes.
    aliases
        Table that renamed the genes already; what it could not decide kept its old symbol.
    notes
        Takes the count and some names.

    Raises
    ------
    UserError
        The file holds less than half of the genes.
    """
    if current_symbols is None and aliases is None:
        return cells
    genes = [
        (symbol, gene_id)
        for symbol, gene_id, kind in zip(cells.vocab.symbols, cells.vocab.ids, cells.vocab.modality, strict=True)
        if kind == "gene" and not is_spike_in(symbol)
    ]
    if current_symbols is not None:
        told: list[str] = []
        known = {fold(name) for name in read_names(resolve_source(current_symbols), what="current symbols", notes=told)}
        notes += [f"current symbols: {note}" for note in told]
        outdated = [symbol for symbol, gene_id in genes if fold(symbol) not in known and fold(gene_id) not in known]
        if len(outdated) > _LEAST_CURRENT * max(len(genes), 1):
            raise UserError(
                f"--current-symbols '{current_symbols}': holds only {len(genes) - len(outdated):,} of the data's "
                f"{len(genes):,} genes (not: {name_some(outdated, 3)}); give the annotation of their species"
            )
    else:
        assert aliases is not None
        outdated = [symbol for symbol, _ in genes if aliases.candidates(symbol)]
    if not outdated:
        notes.append(f"symbols: none of {len(genes):,} genes has an outdated one")
        return cells
    notes.append(
        f"symbols: {len(outdated):,} of {len(genes):,} genes have an outdated one and leave the candidates of splits: "
        f"{name_some(outdated)}"
    )
    return cells.with_vocab(replace(cells.vocab, outdated=frozenset(outdated)))
