"""TeX -> MathML, at build time: pages show equations without a script, a font or a network.

Covers what the docstrings and pages of this project use. An unknown command is an error, so that no page shows half an
equation; extend the tables below when you need more.
"""

# ruff: noqa: RUF001  (mathematical letters are meant)
from __future__ import annotations

import re
from html import escape, unescape

__all__ = ["TexError", "convert_page", "to_mathml"]

_GREEK = dict(
    zip(
        (
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "lambda",
            "mu",
            "nu",
            "xi",
            "pi",
            "rho",
            "sigma",
            "tau",
            "phi",
            "chi",
            "psi",
            "omega",
        ),
        "αβγδεζηθλμνξπρστφχψω",
        strict=True,
    )
) | {
    "Gamma": "Γ",
    "Delta": "Δ",
    "Theta": "Θ",
    "Lambda": "Λ",
    "Sigma": "Σ",
    "Phi": "Φ",
    "Psi": "Ψ",
    "Omega": "Ω",
    "ell": "ℓ",
}
_OPERATORS = {
    "cdot": "⋅", "cdots": "⋯", "ldots": "…", "dots": "…", "times": "×", "odot": "⊙", "top": "⊤", "le": "≤", "ge": "≥",
    "ne": "≠", "in": "∈", "notin": "∉", "cup": "∪", "cap": "∩", "setminus": "∖", "subset": "⊂", "to": "→",
    "mapsto": "↦",
    "approx": "≈", "sim": "∼", "propto": "∝", "pm": "±", "infty": "∞", "Vert": "‖", "|": "‖", "mid": "∣", "colon": ":",
    "lfloor": "⌊", "rfloor": "⌋", "langle": "⟨", "rangle": "⟩", "{": "{", "}": "}", "forall": "∀", "nabla": "∇",
    "partial": "∂", "leftarrow": "←", "rightarrow": "→", "Rightarrow": "⇒", "ast": "∗", "prime": "′",
}  # fmt: skip
_LARGE = {"sum": "∑", "prod": "∏", "int": "∫", "bigcup": "⋃"}
_FUNCTIONS = {"log", "exp", "max", "min", "sin", "cos", "tanh", "lim", "arg", "det", "Pr"}
_SPACES = {"quad": "1em", "qquad": "2em", ",": ".17em", ";": ".28em", ":": ".22em", " ": ".25em", "!": "-.17em"}
_ACCENTS = {"hat": "^", "bar": "¯", "tilde": "~", "vec": "→"}
_FENCE_SIZES = {"big", "Big", "bigl", "bigr", "Bigl", "Bigr", "left", "right"}
_LETTERS = {"mathrm": "normal", "operatorname": "normal", "mathbf": "bold"}
_SCRIPT = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "𝒜ℬ𝒞𝒟ℰℱ𝒢ℋℐ𝒥𝒦ℒℳ𝒩𝒪𝒫𝒬ℛ𝒮𝒯𝒰𝒱𝒲𝒳𝒴𝒵", strict=True))
_DOUBLE = {"R": "ℝ", "N": "ℕ", "Z": "ℤ", "E": "𝔼", "1": "𝟙"}
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\S|[ \t\n]+", re.DOTALL)
_ARITHMATEX = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)


class TexError(ValueError):
    """The TeX holds something that this module does not know."""


class _Parser:
    """Recursive descent over tokens; every method returns MathML."""

    def __init__(self, tex: str) -> None:
        self.tex = tex
        self.tokens = [token for token in _TOKEN.findall(tex) if not token.isspace()]
        self.raw = _TOKEN.findall(tex)
        self.at = 0

    def peek(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self) -> str:
        token = self.peek()
        if token is None:
            raise TexError(f"'{self.tex}' ends too early")
        self.at += 1
        return token

    def expect(self, wanted: str) -> None:
        token = self.take()
        if token != wanted:
            raise TexError(f"'{self.tex}': '{wanted}' expected, '{token}' found")

    def row(self, stops: tuple[str, ...] = ()) -> str:
        parts: list[str] = []
        while (token := self.peek()) is not None and token not in stops:
            parts.append(self.scripted())
        return parts[0] if len(parts) == 1 else f"<mrow>{''.join(parts)}</mrow>"

    def group(self) -> str:
        """An argument: ``{...}`` or one token."""
        if self.peek() == "{":
            self.take()
            inner = self.row(("}",))
            self.expect("}")
            return inner
        return f"<mn>{self.take()}</mn>" if (self.peek() or "").isdigit() else self.atom()

    def scripted(self) -> str:
        """An atom with what hangs above and below it."""
        start = self.peek()
        base = self.atom()
        below = above = ""
        while self.peek() in ("_", "^", "'"):
            mark = self.take()
            if mark == "'":
                above += "<mo>′</mo>"
            elif mark == "_":
                below = self.group()
            else:
                above += self.group()
        if above.count("<mo>′</mo>") and above != "<mo>′</mo>":
            above = f"<mrow>{above}</mrow>"
        limits = start is not None and (start[1:] in _LARGE or start in ("\\max", "\\min", "\\lim"))
        under, over, both = ("munder", "mover", "munderover") if limits else ("msub", "msup", "msubsup")
        if below and above:
            return f"<{both}>{base}{below}{above}</{both}>"
        if below:
            return f"<{under}>{base}{below}</{under}>"
        return f"<{over}>{base}{above}</{over}>" if above else base

    def atom(self) -> str:
        token = self.take()
        if token == "{":
            inner = self.row(("}",))
            self.expect("}")
            return f"<mrow>{inner}</mrow>"
        if token.startswith("\\"):
            return self.command(token[1:])
        if token.isdigit() or (token == "." and (self.peek() or "").isdigit()):
            while (following := self.peek()) is not None and (following.isdigit() or following == "."):
                token += self.take()
            return f"<mn>{token.rstrip('.')}</mn>" + ("<mo>.</mo>" if token.endswith(".") else "")
        if token.isalpha():
            return f"<mi>{escape(token)}</mi>"
        if token in "()[]|":
            return f'<mo stretchy="false">{token}</mo>'
        if token == "~":
            return '<mspace width=".25em"/>'
        if token in "&}":
            raise TexError(f"'{self.tex}': '{token}' where nothing is open")
        return f"<mo>{escape('−' if token == '-' else token)}</mo>"

    def command(self, name: str) -> str:
        if name in _GREEK:
            return f"<mi>{_GREEK[name]}</mi>"
        if name in _OPERATORS:
            stretch = ' stretchy="false"' if name in ("Vert", "|", "{", "}", "mid", "top") else ""
            return f"<mo{stretch}>{_OPERATORS[name]}</mo>"
        if name in _LARGE:
            return f'<mo class="large">{_LARGE[name]}</mo>'
        if name in _FUNCTIONS:
            return (
                f'<mi>{name}</mi><mspace width=".17em"/>' if self.peek() not in ("_", "^", "(") else f"<mi>{name}</mi>"
            )
        if name in _SPACES:
            return f'<mspace width="{_SPACES[name]}"/>'
        if name in ("frac", "tfrac", "dfrac"):
            style = ' displaystyle="false"' if name == "tfrac" else ""
            top, bottom = self.group(), self.group()
            return f"<mstyle{style}><mfrac>{top}{bottom}</mfrac></mstyle>"
        if name == "sqrt":
            return f"<msqrt>{self.group()}</msqrt>"
        if name in _ACCENTS:
            return f'<mover accent="true">{self.group()}<mo stretchy="false">{_ACCENTS[name]}</mo></mover>'
        if name in _FENCE_SIZES:
            return self.fence(name)
        if name == "text":
            return f"<mtext>{escape(self.literal()).replace(' ', '&nbsp;')}</mtext>"
        if name in _LETTERS:
            return (
                f'<mi mathvariant="normal">{escape(self.literal())}</mi>'
                if name != "mathbf"
                else (f'<mi style="font-weight: bold">{escape(self.literal())}</mi>')
            )
        if name in ("mathcal", "mathbb"):
            table, letters = (_SCRIPT, self.letter()) if name == "mathcal" else (_DOUBLE, self.letter())
            if letters not in table:
                raise TexError(f"'{self.tex}': no {name} letter '{letters}'")
            return f"<mi>{table[letters]}</mi>"
        if name == "begin":
            return self.environment()
        raise TexError(f"'{self.tex}': '\\{name}' is not known; add it to tools/docs/mathml.py")

    def fence(self, name: str) -> str:
        token = self.take()
        if token == ".":
            return ""
        sign = _OPERATORS.get(token[1:], token) if token.startswith("\\") else token
        size = {"B": "1.6em", "b": "1.2em"}.get(name[0])
        attributes = 'stretchy="true"' + (f' minsize="{size}" maxsize="{size}"' if size else "")
        return f"<mo {attributes}>{escape(sign)}</mo>"

    def letter(self) -> str:
        """One letter, in braces or bare."""
        return self.literal() if self.peek() == "{" else self.take()

    def literal(self) -> str:
        """The text of ``{...}``, spaces kept."""
        self.expect("{")
        seen, index = 0, 0
        while seen < self.at:  # the same place among the raw tokens, which keep their spaces
            seen += not self.raw[index].isspace()
            index += 1
        text = ""
        while self.peek() != "}":
            self.take()
            while self.raw[index].isspace():
                text += " "
                index += 1
            text += self.raw[index]
            index += 1
        if index < len(self.raw) and self.raw[index].isspace():
            text += " "
        self.expect("}")
        return text

    def environment(self) -> str:
        self.expect("{")
        name = ""
        while self.peek() != "}":
            name += self.take()
        self.expect("}")
        if name not in ("cases", "aligned"):
            raise TexError(f"'{self.tex}': environment '{name}' is not known")
        rows: list[list[str]] = [[]]
        while True:
            rows[-1].append(self.row(("&", "\\\\", "\\end")))
            token = self.take()
            if token == "\\\\":
                rows.append([])
            elif token == "\\end":
                self.expect("{")
                while self.take() != "}":
                    pass
                break
        cells = "".join(
            "<mtr>" + "".join(f'<mtd style="text-align: left">{cell}</mtd>' for cell in row) + "</mtr>" for row in rows
        )
        table = f'<mtable displaystyle="true">{cells}</mtable>'
        return f'<mrow><mo stretchy="true">{{</mo>{table}</mrow>' if name == "cases" else table


def to_mathml(tex: str, *, display: bool = False) -> str:
    """One equation as a ``math`` element; a display breaks into lines at ``\\qquad``, so that phones can show it."""
    pieces = [piece for piece in re.split(r",?\s*\\qquad", tex) if piece.strip()] if display else [tex]
    made = []
    for piece in pieces:
        parser = _Parser(piece)
        body = parser.row()
        if parser.peek() is not None:
            raise TexError(f"'{tex}': '{parser.peek()}' is left over")
        label = escape(" ".join(piece.split()), quote=True)
        mode = ' display="block"' if display else ""
        made.append(f'<math{mode} alttext="{label}">{body}</math>')
    return f'<div class="equation">{"".join(made)}</div>' if display else made[0]


def convert_page(html: str) -> str:
    """Replace what pymdownx.arithmatex marked (``generic: true``) by MathML."""

    def replace(match: re.Match[str]) -> str:
        tex = unescape(match.group(2)).strip()
        display = tex.startswith("\\[")
        return to_mathml(tex[2:-2].strip(), display=display)

    return _ARITHMATEX.sub(replace, html)
