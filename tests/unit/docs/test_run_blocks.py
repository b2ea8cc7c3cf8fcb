"""Blocks that run: what they print is shown, they share a folder and an interpreter, and a failure fails the build."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import ROOT
from tools.docs.run_blocks import blocks_of, run_page, with_outputs
from tools.tutorial import PAGES, steps_of

PAGE = """# Title

```python run quiet
from pathlib import Path

number = 20
Path("file.txt").write_text("from python")
```

```bash run
cat file.txt; echo; pwd; ls experiments/configs/*.yaml | head -n 1
```

```python
never = run
```

```python run
print("printed")
number + 1
```
"""


def test_blocks_run_in_order_in_one_folder(tmp_path: Path) -> None:
    blocks = blocks_of(PAGE)
    assert [(block.language, block.quiet) for block in blocks] == [("python", True), ("bash", False), ("python", False)]
    outputs = run_page(PAGE, cache=tmp_path)
    assert outputs[1].text.startswith("from python\n")
    assert ".yaml" in outputs[1].text
    assert outputs[2].text == "printed\n21\n"
    shown = with_outputs(PAGE, outputs)
    assert "```text\nprinted\n21\n```" in shown
    assert " run" not in [line for line in shown.splitlines() if line.startswith("```")]
    assert "```python\nnever = run\n```" in shown
    kept = list(tmp_path.glob("*.json"))
    assert len(kept) == 1
    kept[0].write_text(kept[0].read_text().replace("printed", "kept"))
    assert run_page(PAGE, cache=tmp_path)[2].text == "kept\n21\n", "the same blocks and code are not run again"


def test_a_block_becomes_a_file(tmp_path: Path) -> None:
    page = "```python run file=part.py\nnumber = 4\n```\n\n```python run\nimport part\n\npart.number\n```\n"
    outputs = run_page(page, cache=tmp_path)
    assert [output.text for output in outputs] == ["", "4\n"]
    assert with_outputs(page, outputs).startswith('```python title="part.py"\nnumber = 4\n```\n')


def test_the_smallest_component_of_each_kind_registers_itself(tmp_path: Path) -> None:
    """The site's build trains with them; here the files are only read, by the command that lists components."""
    page = (ROOT / "docs" / "smallest-components.md").read_text(encoding="utf-8")
    files = [block for block in blocks_of(page) if block.file]
    kinds = {"graph_encoder", "link_decoder", "objective", "control", "head", "edge_format"}
    names = ":".join(block.file for block in files)
    text = "".join(f"```python run file={block.file}\n{block.code}```\n" for block in files)
    text += f"```bash run\nexport GRN_COTRAIN_PLUGINS={names}\ngrn-cotrain list\n```\n"
    listed = run_page(text, cache=tmp_path)[-1].text
    assert names in page, "the run at the end of the page reads every file"
    found, kind = set(), ""
    for line in listed.splitlines():
        kind = line if not line.startswith(" ") else kind
        if "(plug-in" in line:
            found.add(kind)
    assert found == kinds


def test_a_new_modality_is_one_kind_and_one_encoder(tmp_path: Path) -> None:
    """The page is run as a reader would: nothing of the package is edited."""
    page = (ROOT / "docs" / "new-modality.md").read_text(encoding="utf-8")
    assert [block.file for block in blocks_of(page) if block.file] == ["splicing.py", "junction_means.py"]
    said = run_page(page, cache=tmp_path)[-1].text
    for text in (
        "modalities taken: rna (60 genes), splicing (40 junctions)",
        "assay splicing: 40 junctions, spliced, measured in 100 of 150 cells",
        "150 cells x 60 genes + 40 junctions",
        "splicing: R2 of hidden values of held-out cells",
        "150 cells embedded in 16 dimensions",
    ):
        assert text in said


@pytest.mark.parametrize("code", ["bash run\nfalse | cat\n", "python run\n1 / 0\n"])
def test_failing_block_is_an_error(code: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a block of the page failed"):
        run_page(f"```{code}```\n", cache=tmp_path)
    assert list(tmp_path.glob("*.json")) == []


@pytest.mark.parametrize(
    ("page", "kinds", "used"),
    [
        ("tutorial.md", ["write", "run", "append", "run", "run"], "model.coupling=scaled"),
        ("tutorial-encoder.md", ["write", "run", "append", "run", "run"], "model.cell_encoder=radial"),
    ],
)
def test_tutorial_is_read_as_its_page_says(page: str, kinds: list[str], used: str) -> None:
    assert ROOT / "docs" / page in PAGES
    steps = steps_of((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert [step.kind for step in steps] == kinds
    assert (ROOT / steps[2].path).is_file()
    assert not (ROOT / steps[0].path).exists()
    assert used in steps[-1].text
