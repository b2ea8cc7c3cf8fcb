"""Binding motifs of TFs: position-frequency matrices read from files, and how alike those of two TFs are.

Dimension letters: L positions of a motif, N motifs, S TFs, O offsets.
"""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from grn_cotrain.errors import UserError

__all__ = ["motif_similarity", "read_motifs"]

_NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")
_VARIANT = re.compile(r"\(var\.\d+\)$", re.IGNORECASE)
_ENDINGS = (".pfm", ".jaspar", ".meme", ".txt", ".ppm", ".pcm")
_NAMES = "motif_to_gene.txt"
_MOST = 50_000_000  # bytes of one member of an archive: a collection of motifs is much smaller


def read_motifs(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Read position-frequency matrices of TFs.

    Parameters
    ----------
    path
        A file in JASPAR's or MEME's text format, or a zip archive or folder of such files. Matrices without a name are
        called by their file, which a table ``motif_to_gene.txt`` next to them (two columns) translates.

    Returns
    -------
    dict
        Name of a TF as written -> its motifs, float64 ``[L, 4]`` with rows that sum to 1. A dimer (``MAX::MYC``) counts
        for both TFs, and variants (``MZF1(var.2)``) for the same TF.

    Raises
    ------
    UserError
        A missing or damaged file, a matrix that does not have four rows of numbers of equal length, or no matrix.
    """
    path = Path(path)
    names: dict[str, str] = {}
    found: list[tuple[str, np.ndarray]] = []
    for title, text in _texts(path):
        if Path(title).name == _NAMES:
            names |= dict(line.split("\t")[:2] for line in text.splitlines() if line.count("\t"))
            continue
        what = f"motifs '{path}'" if title == path.name else f"motifs '{path}', member '{title}'"
        found += _meme(text, what) if text.lstrip().startswith("MEME version") else _jaspar(text, title, what)
    if not found:
        raise UserError(f"motifs '{path}': holds no matrix; give JASPAR's or MEME's text format, or a zip of files")
    motifs: dict[str, list[np.ndarray]] = defaultdict(list)
    for name, counts_L4 in found:
        for part in names.get(name, name).split("::"):
            motifs[_VARIANT.sub("", part.strip())].append(_probabilities(counts_L4, f"motifs '{path}': {name}"))
    return dict(motifs)


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    try:
        if path.is_dir():
            for file in sorted(path.iterdir()):
                if file.suffix.lower() in _ENDINGS:
                    yield file.name, file.read_text(encoding="utf-8")
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for member in sorted(archive.infolist(), key=lambda one: one.filename):
                    if Path(member.filename).suffix.lower() in _ENDINGS and member.file_size <= _MOST:
                        yield member.filename, archive.read(member).decode("utf-8")
        else:
            yield path.name, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"motifs '{path}': cannot be read ({type(error).__name__}); give a text file or a zip"
        ) from None


def _jaspar(text: str, title: str, what: str) -> Iterator[tuple[str, np.ndarray]]:
    """Four lines of numbers (A, C, G, T) a matrix, each matrix below a line ``>ID NAME``, or alone in its file."""
    name = Path(title).stem
    rows: list[list[float]] = []
    for line in [*text.splitlines(), ">"]:
        if line.startswith(">"):
            if rows:
                yield name, _matrix(rows, f"{what}: {name}")
            name, rows = (line[1:].split() or [""])[-1], []
        elif line.strip():
            rows.append([float(value) for value in _NUMBER.findall(re.sub(r"^\s*[ACGT]\b", "", line))])


def _meme(text: str, what: str) -> Iterator[tuple[str, np.ndarray]]:
    """A line ``MOTIF ID NAME``, a line ``letter-probability matrix``, then a line for each position."""
    for block in re.split(r"^MOTIF ", text, flags=re.MULTILINE)[1:]:
        head, _, body = block.partition("letter-probability matrix")
        lines = body.splitlines()[1:]
        rows: list[list[float]] = []
        for line in lines:
            values = line.split()
            if len(values) != 4 or not all(_NUMBER.fullmatch(value) for value in values):
                if rows:
                    break
                continue
            rows.append([float(value) for value in values])
        name = (head.split("\n")[0].split() or [""])[-1]
        yield name, _matrix(list(map(list, zip(*rows, strict=True))), f"{what}: {name}")


def _matrix(rows: list[list[float]], what: str) -> np.ndarray:
    if len(rows) != 4 or not rows[0] or len({len(row) for row in rows}) > 1:
        sizes = ", ".join(str(len(row)) for row in rows)
        raise UserError(f"{what}: {len(rows)} rows of {sizes} numbers; give four rows (A, C, G, T) of equal length")
    return np.array(rows).T


def _probabilities(counts_L4: np.ndarray, what: str) -> np.ndarray:
    total_L1 = counts_L4.sum(axis=1, keepdims=True)
    if (counts_L4 < 0).any() or not (total_L1 > 0).all():
        raise UserError(f"{what}: a position has negative or no counts; leave the matrix out")
    return counts_L4 / total_L1


def motif_similarity(motifs: Mapping[str, list[np.ndarray]]) -> tuple[tuple[str, ...], np.ndarray]:
    r"""Similarity of the motifs of each two TFs: the best ungapped alignment on both strands.

    .. math:: \max_{o} \frac{\sum_l \langle a_{l + o}, b_l \rangle}{\lVert a \rVert \lVert b \rVert}

    with :math:`a, b` frequencies less 1/4, the sum over the positions that overlap, and the norms over all positions:
    1 for equal motifs, and less the more of an informative motif has no counterpart.

    Returns
    -------
    names
        ``S`` TFs.
    similarity_SS
        float32, symmetric, the largest over the motifs of the two TFs; 1 on the diagonal.
    """
    names = tuple(motifs)
    owner_N = np.array([s for s, name in enumerate(names) for _ in motifs[name]])
    all_motifs = [motif - 0.25 for name in names for motif in motifs[name]]
    longest = max(len(motif) for motif in all_motifs)
    padded_NL4 = np.zeros((len(all_motifs), longest, 4))
    for n, motif in enumerate(all_motifs):
        padded_NL4[n, : len(motif)] = motif / np.linalg.norm(motif) if motif.any() else 0.0
    flat_NL = padded_NL4.reshape(len(all_motifs), -1)
    similarity_SS = np.zeros((len(names), len(names)), dtype=np.float32)
    for n, motif in enumerate(all_motifs):
        unit_L4 = padded_NL4[n, : len(motif)]
        best_N = np.full(len(all_motifs), -1.0)
        # The opposite strand: reversed, and A for T, C for G.
        for strand_L4 in (unit_L4, unit_L4[::-1, ::-1]):
            moved_OL4 = np.zeros((longest + len(motif) - 1, longest, 4))
            for o, shift in enumerate(range(1 - len(motif), longest)):
                low, high = max(0, shift), min(longest, shift + len(motif))
                moved_OL4[o, low:high] = strand_L4[low - shift : high - shift]
            best_N = np.maximum(best_N, (flat_NL @ moved_OL4.reshape(len(moved_OL4), -1).T).max(axis=1))
        np.maximum.at(similarity_SS[owner_N[n]], owner_N, best_N.astype(np.float32))
    similarity_SS = np.maximum(similarity_SS, similarity_SS.T)
    np.fill_diagonal(similarity_SS, 1.0)
    return names, np.minimum(similarity_SS, 1.0)
