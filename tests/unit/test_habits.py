"""The repository's habits: what README promises, what files may know, which way imports run."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from functools import cache
from pathlib import Path

import networkx
import pytest

from grn_cotrain.recipe import Recipe, load_recipe
from tests.cases.skips import skip_listed

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "experiments" / "configs").glob("*.yaml"))
MAX_LINES = 500
MAX_PARAMETERS = 9
GENERATED = {"constraints.txt", "LICENSE", "experiments/RESULTS.md"}
# Reference tables in pages of documentation grow with the components, however short the text around them is.
WRITTEN_BY_TOOLS = re.compile(r"<!-- generate: .*?<!-- /generate -->", flags=re.DOTALL)

# Rooms of grn_cotrain from the bottom up; a room imports rooms of lower rank (or its own), never a higher one.
RANKS = [
    {"errors", "files", "provenance", "strict", "text_tables", "present"},
    {"config"},
    {"options"},
    {"plugins"},
    {"registry", "commandline", "commands", "progress", "lock", "manifest"},
    {"recipe_model", "recipe_train"},
    {"recipe", "recipe_diff"},
    {"data"},
    {"jobs"},
    {"metrics"},
    {"controls"},
    {"nn"},
    {"objectives"},
    {"model", "model_inputs", "model_io", "model_extend", "run_files", "run_folder"},
    {"train"},
    {"apply"},
    {"evaluate"},
    {"finetune"},
    {"export"},
    {"card", "compare"},
    {"tl", "pl", "hub", "start"},
    {"report", "door"},
    {"cli", "__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}
MAY_IMPORT_SCANPY = {"tl", "pl", "report", "cli"}
PACKAGES = {"grn_cotrain": 0, "data_prep": 1, "experiments": 2}


def tracked() -> list[Path]:
    """Files that are, or are about to be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        skip_listed("git")
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    """The file's text, or nothing for a binary file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def python_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def parsed(path: Path) -> ast.Module:
    """The file's syntax tree; many tests look at every file, and parsing is most of their time."""
    return _parsed(path.read_text(encoding="utf-8"))


def imports(path: Path, *, module_level: bool = False) -> set[str]:
    """Dotted names that a file imports, also under TYPE_CHECKING; ``module_level``: only those run by importing it."""
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    return _imports(path.read_text(encoding="utf-8"), package, module_level)


@cache
def _imports(text: str, package: str, module_level: bool) -> set[str]:
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
        if module_level and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return
        if module_level and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return  # nothing is imported when the module is
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(_parsed(text))
    return names


def room_of(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "grn_cotrain" and parts[1] in RANK else None


def test_every_module_has_a_place_in_the_order() -> None:
    package = ROOT / "grn_cotrain"
    rooms = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    assert rooms - {"__init__"} - set(RANK) == set(), (
        "new room: give it a rank here and in docs/decisions/0001-contracts.md"
    )


def test_rooms_import_downward_only() -> None:
    wrong = []
    for path in python_files("grn_cotrain"):
        file = path.relative_to(ROOT).as_posix()
        room = path.relative_to(ROOT / "grn_cotrain").parts[0].removesuffix(".py")
        if room not in RANK:
            continue
        for name in imports(path):
            other = room_of(name)
            if other is None or RANK[other] <= RANK[room]:
                continue
            wrong.append(f"{file} imports {name}")
    assert not wrong


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_modules_import_in_no_circle() -> None:
    """An import inside a function, or for types alone, closes a circle like any other."""
    files = {module_of(path): path for package in ("grn_cotrain", "data_prep") for path in python_files(package)}
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for module, path in files.items():
        names = imports(path) & set(files)
        # `from a import b` names `a` too; where `b` is a module, `a` is no more than the way to it.
        parents = {name.rpartition(".")[0] for name in names}
        graph.add_edges_from((module, name) for name in names - parents - {module})
    assert [sorted(ring) for ring in networkx.strongly_connected_components(graph) if len(ring) > 1] == []


def private_imports(path: Path) -> set[str]:
    """Private names of the project that a file takes from another room, by import or as attribute of a module."""
    tree = parsed(path)
    here = path.relative_to(ROOT).with_suffix("").parts[:2]
    modules: dict[str, str] = {}
    found = set()

    def is_private(name: str) -> bool:
        parts = name.split(".")
        hidden = [part for part in parts if part.startswith("_") and not part.endswith("__")]
        return bool(hidden) and parts[0] in {*PACKAGES, "tools"} and tuple(parts[:2]) != here

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        else:
            continue
        modules |= names
        found |= {name for name in names.values() if is_private(name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = modules.get(ast.unparse(node.value), "")
            if owner.split(".")[-1].islower() and is_private(f"{owner}.{node.attr}"):
                found.add(f"{owner}.{node.attr}")
    return found


def test_private_names_stay_in_their_room() -> None:
    wrong = []
    for package in (*PACKAGES, "tools"):
        for path in python_files(package):
            file = path.relative_to(ROOT).as_posix()
            for name in private_imports(path):
                wrong.append(f"{file} takes {name}")
    assert not wrong


def test_packages_import_downward_only() -> None:
    wrong = []
    for package, rank in PACKAGES.items():
        for path in python_files(package):
            for name in imports(path):
                if PACKAGES.get(name.split(".")[0], -1) > rank:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_import_checks_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.test_habits.ROOT", tmp_path)
    folder = tmp_path / "grn_cotrain" / "data"
    folder.mkdir(parents=True)
    file = folder / "bad.py"
    file.write_text("from ..train import run\ndef f():\n    import scanpy\n")
    assert {"grn_cotrain.train", "grn_cotrain.train.run", "scanpy"} <= imports(file)
    assert "scanpy" not in imports(file, module_level=True)
    assert RANK["train"] > RANK["data"]
    file.write_text(
        "from grn_cotrain.nn._x import a\nfrom grn_cotrain.data._y import b\n"
        "from grn_cotrain.nn import z as q\nq._c\nq.d\n"
    )
    assert private_imports(file) == {"grn_cotrain.nn._x.a", "grn_cotrain.nn.z._c"}


def test_scanpy_stays_at_the_top() -> None:
    wrong = []
    for path in python_files("grn_cotrain"):
        room = path.relative_to(ROOT / "grn_cotrain").parts[0].removesuffix(".py")
        if room not in MAY_IMPORT_SCANPY and any(name.split(".")[0] == "scanpy" for name in imports(path)):
            wrong.append(str(path.relative_to(ROOT)))
    assert not wrong


@pytest.mark.parametrize("module", ["config", "recipe", "errors", "files"])
def test_foundations_import_no_torch(module: str) -> None:
    names = imports(ROOT / "grn_cotrain" / f"{module}.py")
    assert not {name.split(".")[0] for name in names} & {"torch", "lightning_fabric", "torch_geometric"}


def test_heavy_and_optional_libraries_are_imported_where_used() -> None:
    heavy = {
        "dgl",
        "torch_scatter",
        "scib_metrics",
        "decoupler",
        "scanpy",
        "wandb",
        "tensorboard",
        "matplotlib",
        "arboreto",
    }
    wrong = []
    for package in PACKAGES:
        for path in python_files(package):
            found = {name.split(".")[0] for name in imports(path, module_level=True)} & heavy
            if found:
                wrong.append(f"{path.relative_to(ROOT)}: {', '.join(sorted(found))}")
    assert not wrong


def test_only_makefile_and_conftest_know_the_data_folder() -> None:
    place = re.compile("shared" + r"""["']?\s*/\s*["']?""" + "data")
    allowed = {"Makefile", "tests/conftest.py"}
    knowing = {str(path.relative_to(ROOT)) for path in tracked() if place.search(text_of(path))}
    assert knowing <= allowed
    assert place.search(text_of(ROOT / "Makefile"))


def test_no_machine_or_registry_is_named() -> None:
    machine = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+|opt/wheels|opt/pypi)/")
    registry = re.compile(
        "|".join(["pypi" + r"\.org", "python" + "hosted", "conda" + r"\.anaconda", "download" + r"\.pytorch"])
    )
    wrong = []
    for path in tracked():
        if path == Path(__file__).resolve():
            continue
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if machine.search(line) or registry.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}")
    assert not wrong


def test_files_are_short() -> None:
    code = [path for path in tracked() if path.suffix in {".py", ".sh", ".md", ".yaml"}]
    long = {
        str(path.relative_to(ROOT)): len(WRITTEN_BY_TOOLS.sub("", text_of(path)).splitlines())
        for path in code
        if str(path.relative_to(ROOT)) not in GENERATED
    }
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


def parameters_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Number of parameters; ``self`` and ``cls`` are not counted, nor is ``**`` of a typed mapping."""
    names = [item.arg for item in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_functions_have_few_parameters() -> None:
    """More than nine are an options object: see ``grn_cotrain/jobs``."""
    wrong = []
    for package in PACKAGES:
        for path in python_files(package):
            for node in ast.walk(parsed(path)):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and parameters_of(node) > MAX_PARAMETERS:
                    wrong.append(f"{path.relative_to(ROOT)}: {node.name} has {parameters_of(node)} parameters")
    assert not wrong


def test_only_one_room_loops_over_cells() -> None:
    """Batches of cells that are read, and not trained on, come from ``over_cells``; hidden entries are made once."""
    allowed = {"apply/cells.py", "data/streams.py", "evaluate/hidden.py", "train/depth.py", "train/validation.py"}
    looping = {
        path.relative_to(ROOT / "grn_cotrain").as_posix()
        for path in python_files("grn_cotrain")
        if "one_pass(" in path.read_text(encoding="utf-8")
    }
    assert looping <= allowed


def test_modules_say_what_they_are_and_what_they_offer() -> None:
    wrong = []
    for package in PACKAGES:
        for path in python_files(package):
            tree = parsed(path)
            if not ast.get_docstring(tree):
                wrong.append(f"{path.relative_to(ROOT)}: no docstring")
            defines = any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in tree.body)
            names = {
                target.id
                for node in tree.body
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            if defines and "__all__" not in names:
                wrong.append(f"{path.relative_to(ROOT)}: no __all__")
    assert not wrong


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_recipe_parses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRN_COTRAIN_DATA", os.sep + "data")
    recipe = load_recipe(path)
    assert isinstance(recipe, Recipe)
    assert recipe.name == path.stem
    assert text_of(path).startswith("# "), "say in the first line what the recipe is"


def test_readme_names_the_commands() -> None:
    readme = text_of(ROOT / "README.md")
    for command in (
        "make demo",
        "make test",
        "grn-prep counts",
        "grn-prep grn",
        "grn-prep splits",
        "grn-cotrain train",
        "grn-cotrain evaluate links",
        "grn-cotrain export genes",
        "grn-cotrain list",
        "grn-cotrain compare",
    ):
        assert command in readme, f"README does not name `{command}`"


def test_makefile_has_the_targets() -> None:
    makefile = text_of(ROOT / "Makefile")
    for target in ("demo", "demo-sim", "test", "lint", "bench", "setup", "setup-ci"):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_ci_begins_with_the_newcomers_path() -> None:
    """A fresh clone with the core alone runs the README's two commands before anything optional is installed."""
    script = text_of(ROOT / ".ci" / "run")
    steps = ["git clone", "for target in demo test", "GRN_COTRAIN_EXTRAS=required", "for target in setup-ci"]
    places = [script.index(step) for step in steps]
    assert places == sorted(places)
