"""Runs on a hub: what leaves the machine, what is accepted from elsewhere, and that a run comes back as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from grn_cotrain import hub
from grn_cotrain.data.prep import Prep
from grn_cotrain.errors import MissingExtraError, UserError
from grn_cotrain.evaluate.run import evaluate_run
from grn_cotrain.export.genes import gene_embeddings
from grn_cotrain.files import read_json, sha256_file, write_json
from grn_cotrain.hub.manifest import safe_name
from grn_cotrain.hub.scrub import Scrubber
from grn_cotrain.run_folder import RunFolder
from tests.cases.skips import extra
from tests.unit.hub.fake_hub import FakeHub

REPO = "someone/tiny-run"


@pytest.fixture(scope="module")
def evaluated(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny run with a link table."""
    run = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("evaluated") / "run"))
    evaluate_run(run, controls="random,degree_product,target_degree", bootstrap=50)
    return run


def quiet(line: str) -> None:
    del line


def branch(fake: FakeHub) -> Path:
    return fake.root / REPO / "main"


# -- what leaves -------------------------------------------------------------------------------------------------------


def test_what_would_be_pushed(evaluated: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in evaluated.rglob("*") if path.is_file()}
    staged = hub.stage_run(evaluated, tmp_path / "staged", repo_id=REPO, licence="MIT")
    names = {path.relative_to(staged.folder).as_posix() for path in staged.folder.rglob("*") if path.is_file()}
    assert names == set(staged.sizes)
    assert names == {
        *("README.md", "manifest.json", "recipe.yaml", "run.json", "links.json", "cells.json"),
        *(
            f"{model}/{name}"
            for model in ("model", "model_cells")
            for name in ("config.json", "vocab.json", "model.safetensors", "graph.safetensors", "model_manifest.json")
        ),
        *("model/platt.json", "model_cells/depth.json", "run_manifest.json"),
    }
    assert not any("optimizer" in name or "checkpoint" in name or name.endswith((".h5ad", ".pt")) for name in names)
    assert staged.total == sum(path.stat().st_size for path in staged.folder.rglob("*") if path.is_file())
    manifest = json.loads((staged.folder / "manifest.json").read_text())
    assert set(manifest["files"]) == names - {"README.md", "manifest.json"}
    for name, entry in manifest["files"].items():
        assert entry == {
            "sha256": sha256_file(staged.folder / name),
            "size": (staged.folder / name).stat().st_size,
        }
    assert {path: path.stat().st_mtime_ns for path in evaluated.rglob("*") if path.is_file()} == before


def test_no_path_of_this_machine_leaves(evaluated: Path, tiny_world: Path, tmp_path: Path) -> None:
    staged = hub.stage_run(evaluated, tmp_path / "staged")
    secret = str(tiny_world)
    assert secret in (evaluated / "recipe.yaml").read_text()
    for path in staged.folder.rglob("*"):
        if path.is_file():
            assert str(tiny_world.parent).encode() not in path.read_bytes(), path
            assert str(Path.home()).encode() not in path.read_bytes(), path
    assert staged.scrubbed == {secret: tiny_world.name}
    recipe = yaml.safe_load((staged.folder / "recipe.yaml").read_text())
    assert recipe["data"]["prep"] == tiny_world.name
    assert any(secret in line for line in staged.lines())
    assert "(1) were replaced" in (staged.folder / "README.md").read_text()
    assert RunFolder.open(staged.folder).recipe().data.prep == tiny_world.name


def test_more_files_only_by_name_and_of_safe_kinds(evaluated: Path, tiny_world: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(evaluated, tmp_path / "run"))
    (run / "report.html").write_text(f"<html><body><p>from {tiny_world}</p></body></html>")
    (run / "weights.pkl").write_bytes(b"\x80")
    staged = hub.stage_run(run, tmp_path / "staged", include=["report.html"])
    assert (staged.folder / "report.html").read_text() == f"<html><body><p>from {tiny_world.name}</p></body></html>"
    for name, message in (
        ("weights.pkl", "only safetensors, JSON"),
        ("../run/report.html", "not a file of the run"),
        ("/etc/hostname.json", "not a file of the run"),
        ("checkpoints/latest.json", "not a file of the run"),
        ("no.json", "not in"),
    ):
        with pytest.raises(UserError, match=message):
            hub.stage_run(run, tmp_path / "other", include=[name])
    with pytest.raises(UserError, match="not empty"):
        hub.stage_run(run, tmp_path / "staged")
    (run / "model" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="damaged"):
        hub.stage_run(run, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/data/people/ada/prep", "prep"),
        ("~/prep", "prep"),
        ("~ada/prep", "prep"),
        ("C:\\Users\\Ada\\my prep", "my prep"),
        ("\\\\server\\share\\prep", "prep"),
        ("file:///data/ada/cells.h5ad", "cells.h5ad"),
        ("/data/My Cells/cells.h5ad", "cells.h5ad"),
        ("../../ada/prep", "prep"),
        ("prepared/kang", "prepared/kang"),
        ("read /data/ada/cells.h5ad and /data/ada/grn.tsv", "read cells.h5ad and grn.tsv"),
        ("run '/data/ada/x': no such file", "run 'x': no such file"),
        ("counts/minute, and/or 1/2/3", "counts/minute, and/or 1/2/3"),
        ("https://example.org/a/b.tsv", "https://example.org/a/b.tsv"),
        ("collectri:signed", "collectri:signed"),
        ("", ""),
    ],
)
def test_paths_are_told_from_other_text(given: str, expected: str) -> None:
    scrubber = Scrubber()
    assert scrubber.value({"a": [given, 1, None, True]}) == {"a": [expected, 1, None, True]}
    assert bool(scrubber.replaced) == (given != expected)


# -- the card ----------------------------------------------------------------------------------------------------------


def test_the_card_has_a_header_that_hubs_read(evaluated: Path) -> None:
    huggingface_hub = extra("huggingface_hub")
    card = huggingface_hub.ModelCard(hub.model_card(evaluated, repo_id=REPO, licence="MIT"))
    assert card.data.license == "mit"
    assert card.data.library_name == "grn_cotrain"
    assert "single-cell" in card.data.tags
    assert f"hub fetch {REPO}" in card.text
    none = hub.model_card(evaluated)
    assert "license" not in yaml.safe_load(none.split("---")[1])
    assert "None was given" in none


def test_the_card_says_how_the_model_did_beside_controls(evaluated: Path, tmp_path: Path) -> None:
    text = hub.model_card(evaluated)
    stored = json.loads((evaluated / "links.json").read_text())
    rows = {
        (row["scorer"], row["metric"]): row
        for row in stored["rows"]
        if row["candidates"] == "all" and row["split"] == stored["headline_split"]
    }
    for scorer in ("joint", "degree_product", "target_degree"):
        row = rows[scorer, "macro_auroc"]
        shown = f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        line = next(line for line in text.splitlines() if line.startswith("| ") and scorer in line)
        assert shown in line, (shown, line)
    record = RunFolder(evaluated).record()
    for key in ("cells_hash", "vocab_hash", "split_hash", "recipe_hash"):
        assert record[key] in text, key
    assert "160 cells x 80 genes" in text
    assert any(word in text for word in ("beats the best control", "does not beat", "is worse than the best control"))
    run = Path(shutil.copytree(evaluated, tmp_path / "run"))
    rewrite(run / "links.json", warnings=["only 3 TFs: no claim"])
    RunFolder(run).register(["links.json"])
    assert "Warning: only 3 TFs: no claim." in hub.model_card(run)


def rewrite(table: Path, **changes: object) -> None:
    """Change a link table and repair its checksum."""
    write_json(table, {**read_json(table), **changes}, checked=True)


HOSTILE = "a|b`c` <script>alert(1)</script> [x](http://evil) *d*\n# e"


def test_names_in_the_card_do_nothing(evaluated: Path, tmp_path: Path) -> None:
    """Names of runs, data sets, splits and scorers are strangers': they show, and do nothing."""
    run = Path(shutil.copytree(evaluated, tmp_path / "run"))
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["prep"] = {"counts": ["cells|<b>.h5ad"], "grn": "edges`[x](y).tsv"}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (run / "run.json").write_text(json.dumps(json.loads((run / "run.json").read_text()) | {"name": HOSTILE}))
    stored = json.loads((run / "links.json").read_text())
    for row in stored["rows"]:
        row["scorer"] = row["scorer"].replace("random", HOSTILE)
    rewrite(run / "links.json", rows=stored["rows"], warnings=[HOSTILE])
    RunFolder(run).register(["links.json", "run.json"])
    text = hub.model_card(run)
    shown = "a\\|b\\`c\\` &lt;script&gt;alert(1)&lt;/script&gt; [x\\]\\(http&#58;//evil) \\*d\\* # e"
    assert f"\n# {shown}\n" in text
    assert f"| {shown} (control) |" in text
    assert f"Warning: {shown}." in text
    assert "cells\\|&lt;b&gt;.h5ad" in text
    assert "edges\\`[x\\]\\(y).tsv" in text
    for raw in ("<script>", "<b>", "](http", "](y)", "\n# e"):
        assert raw not in text
    widths = {line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("| ")}
    assert widths == {3, 7}, "every table keeps its width"
    assert "grn-cotrain export genes RUN --format" in text, "lines for a shell hold no such name"


def test_the_sentence_follows_the_interval(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    from grn_cotrain.evaluate.link_table import LinkTable

    headline = json.loads((evaluated / "links.json").read_text())["headline_split"]
    for low, high, words in (
        (0.01, 0.03, "joint beats the best control, random: difference +0.020 [+0.010, +0.030]"),
        (-0.01, 0.03, "joint does not beat the best control, random: difference +0.010"),
        (-0.03, -0.01, "joint is worse than the best control, random: difference -0.020"),
        (float("nan"), float("nan"), "joint was compared without an interval with the best control"),
    ):
        value = 0.0 if low != low else (low + high) / 2
        frame = pd.DataFrame([(headline, "joint", "random", "macro_auroc", value, low, high)])
        frame.columns = ["split", "scorer", "control", "metric", "value", "low", "high"]
        monkeypatch.setattr(LinkTable, "difference_to_best_control", lambda self, frame=frame: frame)
        assert words in hub.model_card(evaluated)


def test_the_card_claims_nothing_without_a_table(tiny_run: Path, evaluated: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    assert "**not compared**" in hub.model_card(run)
    for name in ("links.json", "links.parquet"):  # as a fetched run has it: rows, and no replicates
        shutil.copy(evaluated / name, run / name)
    RunFolder(run).register(["links.json", "links.parquet"])
    text = hub.model_card(run)
    assert "degree_product (control)" in text
    assert "best control" not in text.split("## Results")[1].split("## Intended")[0].replace("best 3 of", "")
    stored = json.loads((run / "links.json").read_text())
    for row in stored["rows"]:
        row["split_hash"] = "another"
    rewrite(run / "links.json", rows=stored["rows"])
    RunFolder(run).register(["links.json"])
    with pytest.raises(UserError, match="of another split"):
        hub.model_card(run)


# -- there and back ----------------------------------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was(evaluated: Path, fake: FakeHub, tiny_world: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    address = hub.push_run(evaluated, REPO, licence="mit", token="secret-token", say=lines.append)
    assert REPO in address
    assert fake.private == {REPO: True}
    assert fake.tokens == ["secret-token"]
    assert not any("secret-token" in line for line in lines)
    listed = next(i for i, line in enumerate(lines) if "model/model.safetensors" in line)
    assert listed < next(i for i, line in enumerate(lines) if line.startswith("pushed"))
    assert any("files; no data" in line for line in lines)
    out = hub.fetch_run(REPO, tmp_path / "fetched", say=lines.append)
    assert out == tmp_path / "fetched"
    assert "every checksum verified" in lines[-1]
    for kind in ("static", "graph"):
        np.testing.assert_array_equal(
            gene_embeddings(out, kind=kind).matrix(), gene_embeddings(evaluated, kind=kind).matrix()
        )
    origin, mine = gene_embeddings(out).identity, gene_embeddings(evaluated).identity
    assert origin == mine
    from grn_cotrain import tl
    from grn_cotrain.model_io import load_network

    assert load_network(out).meta == load_network(evaluated).meta
    adata = Prep.open(tiny_world).to_anndata()[:10].copy()
    tl.embed_cells(adata, out, zero_shot=True)
    tl.embed_cells(adata, evaluated, key_added="X_home")
    np.testing.assert_array_equal(adata.obsm["X_grn_cotrain"], adata.obsm["X_home"])
    assert json.loads((out / "hub.json").read_text())["commit"] == FakeHub.commit(branch(fake))
    # A fetched run can be pushed on, without what the fetch noted.
    again = hub.stage_run(out, tmp_path / "again")
    assert "hub.json" not in again.sizes
    assert again.scrubbed == {}


def test_a_cached_fetch_is_verified_again_and_not_downloaded_again(
    evaluated: Path, fake: FakeHub, tmp_path: Path
) -> None:
    hub.push_run(evaluated, REPO, say=quiet)
    first = hub.fetch_run(REPO, cache=tmp_path / "cache")
    assert first.is_relative_to(tmp_path / "cache")
    assert hub.fetch_run(REPO, cache=tmp_path / "cache") == first
    assert fake.snapshots == 1
    (first / "model" / "model.safetensors").write_bytes(b"changed in the cache")
    with pytest.raises(UserError, match="not the file that was pushed"):
        hub.fetch_run(REPO, cache=tmp_path / "cache")


def test_names_of_runs_on_a_hub(
    evaluated: Path, fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch

    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    hub.push_run(evaluated, REPO, say=quiet)
    hub.push_run(evaluated, REPO, revision="v2", say=quiet)
    assert hub.resolve_run("some/folder") == Path("some/folder")
    assert (hub.resolve_run(f"hf://{REPO}") / "model" / "config.json").is_file()
    assert (hub.resolve_run(f"hf://{REPO}@v2") / "model" / "config.json").is_file()
    with pytest.raises(UserError, match=r"fetching failed \(OSError: Revision Not Found: v3\)"):
        hub.resolve_run(f"hf://{REPO}@v3")


def test_people_may_edit_the_card_and_add_a_licence(evaluated: Path, fake: FakeHub, tmp_path: Path) -> None:
    hub.push_run(evaluated, REPO, say=quiet)
    (branch(fake) / "README.md").write_text("# mine\n")
    (branch(fake) / "LICENSE").write_text("MIT\n")
    (branch(fake) / "notes.json").write_text("{}\n")
    lines: list[str] = []
    out = hub.fetch_run(REPO, tmp_path / "fetched", say=lines.append)
    assert (out / "README.md").read_text() == "# mine\n"
    assert any("not fetched, since no manifest lists them: notes.json" in line for line in lines)
    assert not (out / "notes.json").exists()


def tampered(folder: Path) -> None:
    path = folder / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def renamed_in_manifest(folder: Path, name: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = manifest["files"]["model/config.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


ATTACKS = {
    "one bit of the weights": (tampered, "'model/model.safetensors' is not the file that was pushed"),
    "a changed recipe": (
        lambda p: (p / "recipe.yaml").write_text((p / "recipe.yaml").read_text() + "\n"),
        "'recipe.yaml' is not the file",
    ),
    "a pickle": (lambda p: (p / "model" / "optimizer.pt").write_bytes(b"\x80\x04"), "holds 'model/optimizer.pt'"),
    "code": (lambda p: (p / "setup.py").write_text("raise SystemExit"), "holds 'setup.py', which is neither"),
    "a file gone": (lambda p: (p / "model" / "vocab.json").unlink(), "'model/vocab.json' is missing"),
    "no manifest": (lambda p: (p / "manifest.json").unlink(), "has no manifest.json"),
    "an empty manifest": (lambda p: (p / "manifest.json").write_text("{}"), "not of format 1"),
    "a manifest that is no JSON": (lambda p: (p / "manifest.json").write_text("{"), "damaged"),
    "a manifest of no run": (
        lambda p: (p / "manifest.json").write_text('{"format_version": 1, "files": {}}'),
        "not a run folder",
    ),
    "a name that climbs": (lambda p: renamed_in_manifest(p, "../../evil.json"), "outside of the folder"),
    "an absolute name": (lambda p: renamed_in_manifest(p, "/tmp/evil.json"), "outside of the folder"),
    "a name of another system": (lambda p: renamed_in_manifest(p, "..\\evil.json"), "outside of the folder"),
    "a pickle in the manifest": (lambda p: renamed_in_manifest(p, "model/evil.pkl"), "which is neither safetensors"),
}


@pytest.mark.parametrize("case", ATTACKS)
def test_what_is_refused(case: str, evaluated: Path, fake: FakeHub, tmp_path: Path) -> None:
    attack, message = ATTACKS[case]
    hub.push_run(evaluated, REPO, say=quiet)
    attack(branch(fake))
    with pytest.raises(UserError, match=message.replace("(", r"\(")) as caught:
        hub.fetch_run(REPO, tmp_path / "fetched")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "fetched").exists()
    assert not list(tmp_path.rglob("*evil*"))


def test_a_hub_that_lists_names_outside(
    evaluated: Path, fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.push_run(evaluated, REPO, say=quiet)
    names = fake.list_repo_files(REPO)
    monkeypatch.setattr(fake, "list_repo_files", lambda repo_id, revision=None: [*names, "../evil.json"])
    with pytest.raises(UserError, match=r"holds '\.\./evil\.json', outside of the folder"):
        hub.fetch_run(REPO, tmp_path / "fetched")
    assert fake.snapshots == 0


@pytest.mark.parametrize("name", ["a/b.json", "b.json", "model/x.y-z_1.safetensors", ".gitattributes"])
def test_safe_names(name: str) -> None:
    assert safe_name(name)


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../b", "a/..", "a\\b", "C:/a", "a//b", "./a", "a/", "a\0b"])
def test_unsafe_names(name: str) -> None:
    assert not safe_name(name)


def test_other_peoples_repositories_are_left_alone(evaluated: Path, fake: FakeHub) -> None:
    fake.create_repo(REPO, private=False, repo_type="model", exist_ok=True)
    (branch(fake) / "config.json").write_text("{}")
    with pytest.raises(UserError, match="holds other files"):
        hub.push_run(evaluated, REPO, say=quiet)
    assert set(fake.list_repo_files(REPO)) == {".gitattributes", "config.json"}


def test_a_second_push_replaces_the_model(evaluated: Path, fake: FakeHub) -> None:
    hub.push_run(evaluated, REPO, say=quiet)
    (branch(fake) / "model" / "evidence.safetensors").write_bytes(b"of an earlier model")
    hub.push_run(evaluated, REPO, say=quiet)
    assert not (branch(fake) / "model" / "evidence.safetensors").exists()
    assert (branch(fake) / "model" / "model.safetensors").is_file()


def test_no_is_no(evaluated: Path, fake: FakeHub) -> None:
    lines: list[str] = []
    assert hub.push_run(evaluated, REPO, confirm=lambda question: False, say=lines.append) == ""
    assert lines[-1] == "nothing was pushed"
    assert not fake.root.exists()


@pytest.mark.parametrize("repo_id", ["run", "a/b/c", "../x/y", "a b/c", "a--b/c", "/a", "a/", "-a/b", "a/..b"])
def test_bad_repository_names(repo_id: str, evaluated: Path, fake: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not of the form NAME/REPOSITORY"):
        hub.push_run(evaluated, repo_id, say=quiet)
    with pytest.raises(UserError, match="not of the form NAME/REPOSITORY"):
        hub.fetch_run(repo_id, tmp_path / "x")


def test_errors_of_the_client_are_one_line(fake: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"hub 'some/one': fetching failed \(OSError: 404 Client Error\)") as caught:
        hub.fetch_run("some/one", tmp_path / "x")
    assert "\n" not in str(caught.value)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years")
    with pytest.raises(UserError, match="not empty"):
        hub.fetch_run(REPO, tmp_path / "full")


def test_without_the_extra(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: hub.push_run(evaluated, REPO), lambda: hub.fetch_run(REPO, tmp_path / "x")):
        with pytest.raises(MissingExtraError, match=r"pip install 'grn-cotrain\[hub\]'"):
            call()
    hub.stage_run(evaluated, tmp_path / "staged")  # a dry run needs no client
