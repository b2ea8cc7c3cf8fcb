"""TeX -> MathML by latex2mathml: the site needs neither a script nor a font from elsewhere.

The library shows what it does not know, and closes what is open. Here both are errors, since a page would show them.
"""

from __future__ import annotations

import re
from html import escape, unescape
from xml.etree import ElementTree

__all__ = ["TexError", "convert_page", "to_mathml"]

_ARITHMATEX = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
_FUNCTION = re.compile(r"(?<!<msub>)(?<!<msup>)(?<!<msubsup>)(<mi>[a-z]{2,}</mi>)(?=<m(?:i|n|sub|sup|subsup)>)")
_ARITY = {"mfrac": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2, "msubsup": 3, "munderover": 3}


class TexError(ValueError):
    """An equation that cannot be converted; the message holds it."""


def to_mathml(tex: str, *, display: bool = False) -> str:
    r"""Convert one equation to a ``math`` element; a display breaks into lines at ``\qquad``, for narrow screens.

    Raises
    ------
    TexError
        Braces are not balanced, an argument is missing, or the library does not know a command.
    """
    pieces = [piece for piece in re.split(r",?\s*\\qquad", tex) if piece.strip()] if display else [tex]
    made = "".join(_piece(" ".join(piece.split()), display=display) for piece in pieces)
    return f'<div class="equation">{made}</div>' if display else made


def _piece(tex: str, *, display: bool) -> str:
    from latex2mathml.converter import convert

    bare = re.sub(r"\\.", "", tex)
    if bare.count("{") != bare.count("}"):
        raise TexError(f"'{tex}': its braces are not balanced")
    try:
        made: str = convert(tex, display="block" if display else "inline")
        root = ElementTree.fromstring(made)  # made by the library a moment ago
    except Exception as error:  # every fault of the library is one of this equation
        raise TexError(f"'{tex}': {type(error).__name__} {error}") from None
    for element in root.iter():
        name = element.tag.rpartition("}")[2]
        if len(element) != _ARITY.get(name, len(element)):
            raise TexError(f"'{tex}': an argument is missing")
        if name != "mtext" and "\\" in (element.text or ""):
            raise TexError(f"'{tex}': '{element.text}' is not known to latex2mathml; write it another way")
    made = _FUNCTION.sub(r'\1<mspace width="0.167em" />', made)  # log p, not logp
    return made.replace("<math ", f'<math alttext="{escape(tex, quote=True)}" ', 1)


def convert_page(html: str) -> str:
    """Replace what pymdownx.arithmatex marked (``generic: true``) by MathML."""

    def replace(match: re.Match[str]) -> str:
        tex = unescape(match.group(2)).strip()
        return to_mathml(tex[2:-2].strip(), display=tex.startswith("\\["))

    return _ARITHMATEX.sub(replace, html)
