"""Same words, same result: an option of a job is spelled, typed and explained once."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import typer

import data_prep.cli
import grn_cotrain.cli
from grn_cotrain import tl
from grn_cotrain.commandline import run_app
from grn_cotrain.commands import command
from grn_cotrain.errors import UserError, in_python
from grn_cotrain.jobs.annotate import AnnotateOptions
from grn_cotrain.jobs.attention import AttentionOptions
from grn_cotrain.jobs.edges import EdgeOptions
from grn_cotrain.jobs.embed import EmbedOptions
from grn_cotrain.jobs.extend import ExtendOptions
from grn_cotrain.jobs.finetune import FinetuneConfig, LabelOptions
from grn_cotrain.jobs.generate import GenerateOptions
from grn_cotrain.jobs.genes import GeneOptions, IntoOptions
from grn_cotrain.jobs.perturb import PerturbOptions
from grn_cotrain.jobs.prepare import CountsOptions, GrnOptions, SplitOptions
from grn_cotrain.options import Options, keywords, option, options_of
from grn_cotrain.recipe import PrepConfig, SplitConfig


@dataclass(frozen=True)
class Job:
    """Where the options of one job appear: command, tool, library functions."""

    kinds: tuple[type, ...]
    app: typer.Typer
    words: tuple[str, ...]
    tool: str | None = None
    functions: tuple[str, ...] = ()
    cells: bool = True


GRN, PREP = grn_cotrain.cli.app, data_prep.cli.app
E, V, T = "grn_cotrain.export.", "grn_cotrain.evaluate.", "grn_cotrain.train."
JOBS = {
    "embed": Job((EmbedOptions,), GRN, ("embed", "cells"), "embed_cells", (E + "cells.embed_cells",)),
    "annotate": Job((AnnotateOptions,), GRN, ("annotate",), "annotate", (E + "cell_types.annotate_cells",)),
    "generate": Job((GenerateOptions,), GRN, ("generate",), "generate", (E + "generate.generate_file",)),
    "perturb": Job((PerturbOptions,), GRN, ("perturb",), "perturb", (E + "perturb.perturb_file",)),
    "genes": Job((GeneOptions, IntoOptions), GRN, ("export", "genes"), "embed_genes"),
    "edges": Job((EdgeOptions,), GRN, ("export", "edges"), "infer_grn", (E + "edge_file.export_edges",), False),
    "attention": Job(
        (AttentionOptions,), GRN, ("evaluate", "attention"), None, (V + "attention_run.evaluate_attention",), False
    ),
    "finetune": Job((LabelOptions, FinetuneConfig), GRN, ("finetune",)),
    "extend": Job((ExtendOptions,), GRN, ("extend",), None, (E + "extend.extend_run",)),
    "counts": Job((CountsOptions,), PREP, ("counts",), None, ("data_prep.counts.prepare_counts",), False),
    "grn": Job((GrnOptions,), PREP, ("grn",), None, ("data_prep.grn.prepare_grn",), False),
    "splits": Job((SplitOptions,), PREP, ("splits",), None, ("data_prep.splits.prepare_splits",), False),
}


def click_command(app: typer.Typer, words: tuple[str, ...]) -> Any:
    found: Any = typer.main.get_command(app)
    for word in words:
        found = found.commands[word]
    return found


def leaves(app: typer.Typer) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}

    def visit(node: Any, words: tuple[str, ...]) -> None:
        if hasattr(node, "commands"):
            for name, inner in node.commands.items():
                visit(inner, (*words, name))
        else:
            found[words] = node

    visit(typer.main.get_command(app), ())
    return found


@pytest.mark.parametrize("name", JOBS)
def test_every_option_is_said_once_and_means_the_same_everywhere(name: str) -> None:
    job = JOBS[name]
    known = {key: one for kind in job.kinds for key, (one, _) in options_of(kind).items()}
    fields = {item.name: item for kind in job.kinds for item in dataclasses.fields(kind)}
    shown = {item.name: item for item in click_command(job.app, job.words).params}
    for key, one in known.items():
        flags = shown[key].opts
        assert f"--{key.replace('_', '-')}" in flags, "the flag is the name"
        assert shown[key].help == one.help
        field = fields[key]
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            assert shown[key].required
    places = [importlib.import_module(one.rpartition(".")[0]).__dict__[one.rpartition(".")[2]] for one in job.functions]
    if job.tool is not None:
        places.append(getattr(tl, job.tool))
    for function in places:
        signature = inspect.signature(function)
        for key, one in known.items():
            parameter = signature.parameters[key]
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
            if fields[key].default is not dataclasses.MISSING:
                assert parameter.default == fields[key].default
            assert one.help in function.__doc__, f"{function.__name__}: {key}"


@pytest.mark.parametrize("name", [name for name, job in JOBS.items() if job.cells])
def test_run_comes_first_and_cells_second(name: str) -> None:
    positional = [
        item for item in click_command(JOBS[name].app, JOBS[name].words).params if not item.opts[0].startswith("-")
    ]
    assert [item.name for item in positional] == ["run", "cells"]


@pytest.mark.parametrize(("kind", "config"), [(CountsOptions, PrepConfig), (SplitOptions, SplitConfig)])
def test_a_prep_block_has_the_keys_of_the_command(kind: type, config: type) -> None:
    mine = {item.name: item.default for item in dataclasses.fields(kind) if item.name != "folds"}
    theirs = {item.name: item.default for item in dataclasses.fields(config)}
    assert mine == {name: theirs[name] for name in theirs if name not in ("counts", "splits", "kind")}


def test_help_begins_with_a_capital_and_ends_with_a_full_stop() -> None:
    for job in JOBS.values():
        for kind in job.kinds:
            for name, (one, _) in options_of(kind).items():
                assert one.help[:1].isupper() or one.help.startswith("FILE:"), f"{kind.__name__}.{name}"
                assert one.help.endswith("."), f"{kind.__name__}.{name}"


PANELS = ("Prepare", "Train", "Evaluate", "Use", "Share")


def test_help_lists_commands_in_the_order_of_work() -> None:
    group: Any = typer.main.get_command(GRN)
    panels = [group.commands[name].rich_help_panel for name in group.list_commands(None)]
    assert list(dict.fromkeys(panels)) == list(PANELS)
    assert panels == sorted(panels, key=PANELS.index)


@pytest.mark.parametrize(("module", "program"), [("grn_cotrain", "grn-cotrain"), ("data_prep", "grn-prep")])
def test_both_programs_run_as_modules_and_tell_their_version(module: str, program: str) -> None:
    found = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert found.stdout == f"{program} {grn_cotrain.__version__}\n"


def test_every_command_names_the_next_one() -> None:
    root = Path(__file__).resolve().parents[2]
    missing, count = [], 0
    for path in [*(root / "grn_cotrain" / "cli").glob("*.py"), *(root / "data_prep").glob("cli*.py")]:
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef):
                continue
            marks = [ast.unparse(mark) for mark in node.decorator_list]
            if any(mark.startswith("command(") for mark in marks) or node.name == "fetch":
                count += 1
                missing += [] if "next_step(" in ast.unparse(node) else [f"{path.name}: {node.name}"]
    assert not missing
    assert count == len(leaves(GRN)) + len(leaves(PREP)), "every command is made by `command`"


# ---------------------------------------------------------------- one text, two spellings


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("--min-mapped '0.2': give 0 to 1", "min_mapped=0.2: give 0 to 1"),
        ("--layer 'cuonts': no such layer; choose from raw", "layer='cuonts': no such layer; choose from raw"),
        ("give the layer (--layer counts)", "give the layer (layer='counts')"),
        ("x: is there; allow it (--overwrite)", "x: is there; allow it (overwrite=True)"),
        ("give --top, --top-per-tf or --min-probability", "give top, top_per_tf or min_probability"),
        ("run `grn-cotrain train R --out D --resume`", "run `grn-cotrain train R --out D --resume`"),
        ("make it: grn-prep counts IN --out D; then go on", "make it: grn-prep counts IN --out D; then go on"),
        ("CELLS 'a.h5ad': no such file", "cells='a.h5ad': no such file"),
        ("a - b -- c", "a - b -- c"),
    ],
)
def test_an_error_speaks_python_in_python(text: str, python: str) -> None:
    error = UserError(text)
    assert str(error) == python == in_python(text)
    assert error.on_command_line() == text
    assert UserError(f"while reading: {error}").on_command_line() == f"while reading: {text}", (
        "wrapping keeps the flags"
    )


def test_an_error_knows_its_arguments() -> None:
    assert UserError("--min-mapped '2': as --layer 'x'").arguments == ("min_mapped", "layer")
    assert UserError("run 'x': train it with grn-cotrain train R --resume").arguments == ()


@dataclass(frozen=True, kw_only=True)
class Shape(Options):
    sides: int = option(4, "Number of sides.", low=3)
    colour: Literal["red", "blue"] = option("red", "Colour: red or blue.")
    share: float | None = option(None, "Share.", low=0.0, high=1.0)


@keywords(Shape)
def draw(place: str, options: Shape, *, say: Callable[[str], None] | None = None) -> tuple[str, Shape]:
    """Draw.

    Parameters
    ----------
    {options}
    """
    del say
    return place, options


def test_keywords_fill_the_object() -> None:
    assert draw("here", sides=5) == ("here", Shape(sides=5))
    assert draw("here", options=Shape(sides=6), colour="blue") == ("here", Shape(sides=6, colour="blue"))
    assert draw("here", Shape(sides=7)) == ("here", Shape(sides=7))
    with pytest.raises(TypeError, match="size"):
        draw("here", size=3)
    with pytest.raises(TypeError, match="by keyword"):
        draw("here", 5)
    assert list(inspect.signature(draw).parameters) == ["place", "sides", "colour", "share", "say"]
    assert "sides\n        Number of sides." in draw.__doc__


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sides": 2}, "sides=2: give 3 or more"),
        ({"share": 1.5}, r"share=1\.5: give 0 to 1"),
        ({"share": float("nan")}, "share='nan': give 0 to 1"),
        ({"colour": "blu"}, r"colour='blu': choose from red, blue \(did you mean 'blue'\?\)"),
    ],
)
def test_bounds_and_choices_are_checked_once(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Shape(**given)
    app = typer.Typer()

    @command(app, "draw")
    def _draw(options: Shape) -> None:
        raise AssertionError("must not be reached")

    @command(app, "other")
    def _other() -> None: ...

    ((name, value),) = given.items()
    assert run_app(app, ["draw", f"--{name}", str(value)]) == 2


def test_an_error_of_an_option_is_spelled_as_the_command_spells_it(capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()

    @command(app, "draw")
    def _draw(options: Shape) -> None:
        raise UserError(f"sides: got {options.sides}; a square has 4")

    @command(app, "other")
    def _other() -> None: ...

    assert run_app(app, ["draw", "--sides", "7"]) == 2
    assert capsys.readouterr().err == "error: --sides: got 7; a square has 4\n"


def test_tools_load_no_torch() -> None:
    code = "import sys, grn_cotrain.tl, grn_cotrain.cli; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])


@pytest.mark.parametrize("app", [GRN, PREP], ids=["grn-cotrain", "grn-prep"])
def test_every_help_text_is_a_phrase_with_a_capital_and_a_full_stop(app: typer.Typer) -> None:
    for words, found in leaves(app).items():
        texts = {"command": found.help}
        texts |= {item.name: item.help for item in found.params if item.name != "help"}
        for name, text in texts.items():
            assert text[0].isupper() or text.startswith("h5ad, "), f"{' '.join(words)}, {name}: '{text}'"
            assert text.rstrip().endswith("."), f"{' '.join(words)}, {name}: '{text}'"
