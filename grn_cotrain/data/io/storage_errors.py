"""Kinds of failure of the storage libraries: a file in use, a missing codec or a lost disk is not a damaged file."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from grn_cotrain.errors import UserError

__all__ = ["reading"]

_DAMAGED = "is damaged or cut short ({reason}); {fix}"
_OTHERWISE = (
    "cannot be read ({reason}); its layout does not follow its format: write it with a current version, or {fix}"
)
_FETCH = "fetch it again, or compare its size with the source"


@dataclass(frozen=True)
class _Trouble:
    """One kind of failure: error numbers, a pattern of the text, or classes of the exception; and its sentence."""

    sentence: str
    numbers: frozenset[int] = frozenset()
    pattern: str = r"(?!)"
    classes: tuple[type[BaseException], ...] = ()

    def fits(self, error: BaseException, text: str) -> bool:
        return (
            getattr(error, "errno", None) in self.numbers
            or isinstance(error, self.classes)
            or re.search(self.pattern, text, re.IGNORECASE) is not None
        )


def _numbers(*names: str) -> frozenset[int]:
    """Error numbers of this system; some names are unknown to some systems."""
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


# The first that fits decides, so what names its cause stands before what may be damage.
_TROUBLES = (
    _Trouble(
        "the file system cannot lock files ({reason}); set HDF5_USE_FILE_LOCKING=FALSE and try again",
        _numbers("ENOLCK", "ENOTSUP"),
        r"locking disabled|no locks available|function not implemented",
    ),
    _Trouble(
        "is open for writing elsewhere ({reason}); close it there, or set HDF5_USE_FILE_LOCKING=FALSE if nothing "
        "writes to it",
        _numbers("EAGAIN", "EWOULDBLOCK", "EBUSY", "ETXTBSY"),
        r"unable to lock file|already open for (write|read)|resource temporarily unavailable",
    ),
    _Trouble(
        "cannot be read, because permission is missing ({reason}); ask for permission, or copy it to a place of yours",
        _numbers("EACCES", "EPERM"),
        r"permission denied",
    ),
    _Trouble(
        "the disk or network that holds it does not answer ({reason}); try again when it does, or copy the file first",
        _numbers("EIO", "ESTALE", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN", "EREMOTEIO", "ENODEV", "ENXIO"),
        r"stale file handle|input/output error|transport endpoint|timed out|file read failed: time",
    ),
    _Trouble(
        "too many files are open ({reason}); close some, or raise the limit (ulimit -n)", _numbers("EMFILE", "ENFILE")
    ),
    _Trouble(
        "is compressed with a filter that is not installed here ({reason}); install hdf5plugin or the codec, or save "
        "the file with compression='gzip'",
        pattern=r"can't open directory|required filter|filter .*not (available|registered)|codec not available"
        r"|no codec|unknown codec|not registered in|plugin",
    ),
    _Trouble(
        "is stored in an encoding that the installed anndata does not know ({reason}); update anndata, or save the "
        "file with an older version",
        pattern=r"no \w+ method registered for|unknown encoding|unsupported encoding|zarr.?format|object version",
    ),
    _Trouble(
        "refers to another file that is not there ({reason}); put that file next to it, or save both as one",
        pattern=r"external (link|file)|can't open file|unable to open external",
    ),
    _Trouble(
        "holds text that is not UTF-8 ({reason}); save it as UTF-8",
        classes=(UnicodeError,),
        pattern=r"codec can't decode",
    ),
    _Trouble(
        _DAMAGED,
        pattern=r"truncated|corrupt|wrong b-tree|bad (object|global|local|heap|symbol|fractal|magic)|checksum"
        r"|inflate\(\)|filter returned failure|addr(ess)? overflow|signature not found|are missing|end of file"
        r"|incorrect header|invalid (block|distance|stored|code)|is missing|unexpected end|decompress|expecting value",
        classes=(EOFError,),
    ),
    _Trouble(_OTHERWISE, pattern=r"doesn't exist|component not found", classes=(AttributeError, TypeError)),
    _Trouble(_DAMAGED, pattern=r"(unable to|can't) (synchronously )?(open|read|get|determine)"),
)


@contextmanager
def reading(what: str, fix: str = _FETCH) -> Iterator[None]:
    """Turn whatever a storage library raises into one line that names the kind of failure.

    Parameters
    ----------
    what
        How errors call the file: ``counts 'cells.h5ad'``.
    fix
        Advice for a damaged file.

    Raises
    ------
    UserError
        In the place of any other exception, except that of memory.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        text = str(error).strip()
        reason = text.splitlines()[0] if text else type(error).__name__
        found = next((trouble.sentence for trouble in _TROUBLES if trouble.fits(error, text)), _OTHERWISE)
        raise UserError(f"{what}: {found.format(reason=reason, fix=fix)}") from None
