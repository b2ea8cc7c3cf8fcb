"""Word list of the house: text that people read is found in source files and compared with plain English.

``python -m tests.words [PATH ...]`` prints every hit with its line. In Python files, docstrings and string literals are
found by AST and comments by tokenize; names of variables are not read. In Markdown, code is left out.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ALLOWED", "READ", "ROOT", "RULES", "Hit", "Rule", "allowed", "hits", "passages", "reading_files"]

ROOT = Path(__file__).resolve().parents[1]

#: Folders and files that people read. CHANGELOG.md keeps its old entries.
READ = ("grn_cotrain", "data_prep", "experiments", "tools", "docs", "README.md", "CONTRIBUTING.md", "Makefile")
SUFFIXES = {".py", ".md", ".yaml", ".html"}


@dataclass(frozen=True)
class Rule:
    """A phrase, as a regular expression, and what to write instead; ``opening`` looks at the first words alone."""

    name: str
    pattern: str
    instead: str
    opening: bool = False


RULES = (
    Rule("anew", r"\banew\b", "again"),
    Rule("whoever", r"\b(who(so)?ever|whomever|wheresoever|wherever)\b", "anyone who, those who, where"),
    Rule("beside", r"\bbesides?\b", "compared with, next to, in addition to"),
    Rule("told", r"\b(told|tells?|telling|untold)\b", "reported, shows, distinguish"),
    Rule("said", r"\b(said|says?|saying)\b", "reported, stated, states, write"),
    Rule("hear", r"\b(hears?|heard)\b", "receive, depend on"),
    Rule(
        "is no",
        r"(?<!there )(?<!that )\b(is|are|was|were|be) no\b(?!-)"
        r"(?! (longer|more|less|fewer|better|worse|larger|smaller|higher|lower|later|earlier|shorter|faster|slower)\b)",
        "is not a",
    ),
    Rule("is none", r"(?<!there )\b(is|are|was|were|be) (?-i:none)\b(?! of\b)", "is not one, does not exist"),
    Rule("lies", r"\b(lies?|lying|lain)\b", "is stored, is, are"),
    Rule("aloud", r"\baloud\b", "reported"),
    Rule("nought", r"\bnought\b", "zero, nothing"),
    Rule("at hand", r"\bat hand\b", "available"),
    Rule("as it stands", r"\bas (it|they) stands?\b", "unchanged"),
    Rule("but for", r"\bbut for\b", "except"),
    Rule("goes on", r"\bgo(es|ing)? on\b", "continue, resume"),
    Rule("None where", r"\bnone where\b", "None if"),
    Rule("another hand", r"\b(an)?other hand\b(?<!on the other hand)", "another program, another person"),
    Rule("hang on", r"\b(hangs?|hung)\b", "add to, depend on"),
    Rule("Of", r"(?-i:\bOf\b(?! course\b))", "a noun first: Seed of ..."),
    Rule("of", r"(?-i:of) (?!course\b)", "a noun first", opening=True),
    Rule("What", r"(?-i:What)\b(?![^?]*\?$)", "a noun, or an imperative", opening=True),
)

_PATTERNS = [
    (rule, re.compile(rule.pattern if "(?<" in rule.pattern else rule.pattern.replace(" ", r"\s+"), re.I))
    for rule in RULES
]

#: Legitimate uses: (path, text around the hit) -> reason. An entry that no hit needs is an error.
ALLOWED: dict[tuple[str, str], str] = {
    ("data_prep/fetch/catalogue/genes.yaml", 'its papers say "freely available'): "quotation of a licence",
}


@dataclass(frozen=True)
class Hit:
    """A phrase of the word list in a text that people read."""

    path: str
    line: int
    rule: Rule
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: '{self.rule.name}' (write: {self.rule.instead}): ...{self.text}..."


_CODE = re.compile(r":\w+(?::\w+)?:`[^`]*`|``.+?``|`[^`\n]+`|\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL)
_FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2[^\n]*$", re.DOTALL | re.MULTILINE)
_GENERATED = re.compile(r"<!-- generate: .*?<!-- /generate -->", re.DOTALL)  # read where it comes from
_COMMENTED = re.compile(r"<!--.*?-->", re.DOTALL)
_TARGET = re.compile(r"(?<=\])\([^)\n]*\)")
_SIGNATURE = re.compile(r"\*{0,2}\w+(, \*{0,2}\w+)*( : .*)?")


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", "_", match.group())


def _docstring(text: str) -> Iterator[tuple[int, str]]:
    """Paragraphs and descriptions of a docstring, without code, doctests and the lines that name parameters."""
    held: list[str] = []
    start = 0
    block: int | None = None
    lines = _CODE.sub(_blank, text).splitlines()
    for number, line in enumerate(lines):
        bare, indent = line.strip(), len(line) - len(line.lstrip())
        if block is not None and bare and indent <= block:
            block = None
        following = lines[number + 1] if number + 1 < len(lines) else ""
        deeper = bool(following.strip()) and len(following) - len(following.lstrip()) > indent
        header = number > 0 and deeper and _SIGNATURE.fullmatch(bare) is not None
        skipped = block is not None or not bare or bare.startswith((">>>", "... ", "---", "===", ".. ")) or header
        if skipped:
            if held:
                yield start, "\n".join(held).lstrip()
                held = []
        else:
            if not held:
                start = number
            held.append(line)
        if bare.endswith("::") and block is None:
            block = indent
    if held:
        yield start, "\n".join(held).lstrip()


def _strings(tree: ast.AST) -> Iterator[tuple[ast.expr, str, bool]]:
    """String literals with their text (values of f-strings as ``_``), and whether each is a docstring."""
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, documents = stack.pop()
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield node, node.value, documents
        elif isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "_" for part in node.values]
            yield node, "".join(parts), False
            stack.extend((part.value, False) for part in node.values if isinstance(part, ast.FormattedValue))
        else:
            for child in ast.iter_child_nodes(node):
                stack.append((child, isinstance(node, ast.Expr)))


def _python(text: str) -> Iterator[tuple[int, str]]:
    for node, value, documents in _strings(ast.parse(text)):
        if documents:
            for offset, paragraph in _docstring(value):
                yield node.lineno + offset, paragraph
        elif re.search(r"\s", value.strip()):
            yield node.lineno, _CODE.sub(_blank, value)
    held: list[str] = []
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        words = _CODE.sub(_blank, token.string.lstrip("#: "))
        if held and token.start[0] == last + 1:
            held.append(words)
        else:
            if held:
                yield start, "\n".join(held)
            held, start = [words], token.start[0]
        last = token.start[0]
    if held:
        yield start, "\n".join(held)


def _markdown(text: str) -> Iterator[tuple[int, str]]:
    for pattern in (_GENERATED, _FENCE, _COMMENTED, _CODE, _TARGET):
        text = pattern.sub(_blank, text)
    start = 1
    for paragraph in re.split(r"(\n\s*\n)", text):
        if paragraph.strip():
            yield start, paragraph
        start += paragraph.count("\n")


def passages(path: Path) -> Iterator[tuple[int, str]]:
    """Texts of a file that people read, each with the line of its beginning."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return _python(text)
    if path.suffix == ".md":
        return _markdown(text)
    if path.suffix == ".html":
        text = re.sub(r"<[^>]*>", _blank, text)
    return ((number, _CODE.sub(_blank, line)) for number, line in enumerate(text.splitlines(), 1))


def reading_files(root: Path = ROOT, names: tuple[str, ...] = READ) -> list[Path]:
    """Files that people read."""
    found: list[Path] = []
    for name in names:
        place = root / name
        found += [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.suffix in SUFFIXES)
    return found


def hits(path: Path, root: Path = ROOT) -> list[Hit]:
    """Uses of the word list in one file, in the order of their lines."""
    found = []
    name = path.resolve().relative_to(root).as_posix()
    for line, text in passages(path):
        flat = re.sub(r"\n\s*", " ", text)
        for rule, pattern in _PATTERNS:
            matches = [pattern.match(flat)] if rule.opening else list(pattern.finditer(flat))
            for match in matches:
                if match is None:
                    continue
                at = match.start()
                number = line + _lines_before(text, at)
                found.append(Hit(name, number, rule, flat[max(0, at - 60) : at + 60].strip()))
    return sorted(found, key=lambda hit: hit.line)


def allowed(hit: Hit) -> bool:
    """Whether the hit is a legitimate use, listed in :data:`ALLOWED`."""
    return any(name == hit.path and text in hit.text for name, text in ALLOWED)


def _lines_before(text: str, at: int) -> int:
    """Line breaks of ``text`` before the position ``at`` of the same text on one line."""
    passed = 0
    for number, line in enumerate(text.split("\n")):
        passed += len(line if number == 0 else line.lstrip()) + 1
        if at < passed:
            return number
    return text.count("\n")


def main(names: list[str]) -> int:
    """Print the hits in ``names``, or in all files that people read, and their counts."""
    counts: dict[str, int] = {}
    for path in reading_files(names=tuple(names) or READ):
        for hit in filter(lambda hit: not allowed(hit), hits(path)):
            counts[hit.rule.name] = counts.get(hit.rule.name, 0) + 1
            print(hit)
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())), sum(counts.values()))
    return 1 if counts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
