"""The model card of a run: what it is, what it was made from, how it compares with controls, and what it is not for."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from grn_cotrain.apply import OpenRun
from grn_cotrain.data.alignment import name_some
from grn_cotrain.data.spaces import counted_features
from grn_cotrain.errors import UserError
from grn_cotrain.evaluate.annotation import FINE_TUNED
from grn_cotrain.evaluate.link_rows import SUMMARY, link_rows, links_table, records
from grn_cotrain.evaluate.link_table import LinkTable
from grn_cotrain.evaluate.model_scorer import arm_name
from grn_cotrain.files import read_json
from grn_cotrain.finetune.classifier import CLASSES_FILE, Classifier
from grn_cotrain.model import CoTrainNetwork
from grn_cotrain.model_io import load_model
from grn_cotrain.present import Cell, Row, figure, measured, metric, number, table
from grn_cotrain.present.markdown import Markdown, code, escape, escape_block, to_markdown
from grn_cotrain.recipe import Recipe
from grn_cotrain.run_folder import RunFolder

__all__ = ["load_whole", "model_card"]

_CELL_TYPE_METRICS = ("accuracy", "macro_f1")
_CONTROLS_SHOWN = 3
_CLASSES_SHOWN = 50
_SPLITS = {
    "random": "edges held out at random: the same TFs and targets occur in training, so degree alone does well",
    "unseen-tf": "all targets of some TFs are held out: TFs without a known target in training",
    "unseen-target": "all regulators of some targets are held out: targets without a known regulator in training",
    "unseen-both": "both TF and target of a test edge are unseen in training",
    "published": "the train and test pairs of a publication",
    "transfer": "trained on the network of other data",
}


def model_card(
    run: str | Path, *, repo_id: str | None = None, licence: str | None = None, num_scrubbed: int | None = None
) -> str:
    """README.md of a run, with the YAML header that model hubs read.

    Results come from the run's link table (``grn-cotrain evaluate links RUN``), with its best controls and with
    intervals; a sentence states whether the model beats them. Without that table the card states that it is missing.
    The card of a fine-tuned run also states what its classifier was tuned for, and compares it with plain classifiers.

    Parameters
    ----------
    run
        Finished run folder.
    repo_id
        Named in the lines that load it.
    licence
        Licence id for the header, for example ``mit``; the author's to give.
    num_scrubbed
        Paths that were replaced in the copies of recipe.yaml and run.json.

    Raises
    ------
    UserError
        No run folder, no model, a damaged link table, a head that is missing or damaged.
    """
    folder = RunFolder.open(run)
    model, classifier, config = load_whole(folder)
    recipe, record = folder.recipe(), folder.record() if folder.record_file.is_file() else {}
    name = str(record.get("name") or recipe.name)
    header = {
        **({"license": licence.lower()} if licence else {}),
        "library_name": "grn_cotrain",
        "tags": ["biology", "single-cell", "gene-regulatory-network", "gene-embedding", "link-prediction"],
    }
    species = "" if model.vocab.species in ("unknown", "simulated") else f" ({model.vocab.species})"
    sections = [
        f"# {escape(name)}",
        f"One table of embeddings of {model.vocab.counted}{species}, under a cell encoder that reads"
        " expression and a graph encoder that reads a gene regulatory network; trained with"
        f" `grn_cotrain` as {code(arm_name(recipe))}. It gives gene embeddings, cell embeddings and scores of"
        " regulatory links"
        + (f", and cell types: it was fine-tuned for {code(classifier.label)}." if classifier is not None else "."),
        *_model_section(recipe, record, config, model.vocab.species),
        *_data_section(recipe, record, config, num_scrubbed),
        *_results_section(folder, config),
        *([] if classifier is None else _cell_types_section(classifier, record)),
        "## Intended use",
        "Research: starting rows for models that hold an embedding of genes, features of genes, embeddings of cells of"
        " the same species and tissue, and candidate regulatory links to be tested by other means.",
        "## Limitations",
        _limits(recipe, config, model.vocab.species, classifier),
        "## Licence",
        f"{code(licence)}, given by the author." if licence else "None was given: ask the author before you use it.",
        "## How to load it",
        _loading(repo_id, name, classifier),
    ]
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n" + "\n\n".join(sections) + "\n"


def load_whole(folder: RunFolder) -> tuple[CoTrainNetwork, Classifier | None, dict[str, Any]]:
    """Model, classifier (None unless the run is fine-tuned) and config.json of the model; every checksum is verified.

    Raises
    ------
    UserError
        No model; a file of model or classifier is missing, damaged or exchanged.
    """
    if not (folder.folder / CLASSES_FILE).is_file():
        model, config = load_model(folder.require_model())
        return model, None, config
    opened = OpenRun(folder)
    classifier, config = Classifier.of(opened), opened.config
    return classifier.model, classifier, config


def _table(rows: list[tuple[str, str]]) -> str:
    return to_markdown(table(("", ""), [(name, Markdown(value)) for name, value in rows], numeric=()))


def _model_section(recipe: Recipe, record: dict[str, Any], config: dict[str, Any], species: str) -> list[str]:
    parts = recipe.model
    meta = config["meta"]
    parameters = record.get("parameters", {}).get("total")
    edges = f"{record['message_edges']:,} ({recipe.graph.messages})" if "message_edges" in record else "-"
    encoders = " and ".join(
        code(spec.component.name) + (f" of {', '.join(spec.reads)}" if spec.reads else "")
        for spec in parts.encoder_specs.values()
    )
    rows = [
        ("width", f"{parts.width}" + (f"; {parameters:,} parameters" if parameters else "")),
        (
            "parts",
            f"graph encoder {code(parts.graph_encoder.name)}, coupling {code(parts.coupling.name)}, cell encoder"
            f" {encoders}, link decoder {code(parts.link_decoder.name)}",
        ),
        ("objectives", ", ".join(map(code, recipe.objectives))),
        ("message edges", edges),
        ("species; values", f"{species}; {escape(meta.get('values', '-'))}"),
        ("training", _training(recipe, record, meta)),
        ("hashes", f"recipe {code(meta.get('recipe_hash', '-'))}, vocabulary {code(config['vocab_hash'])}"),
    ]
    return ["## The model", _table(rows)]


def _training(recipe: Recipe, record: dict[str, Any], meta: dict[str, Any]) -> str:
    # A fine-tuned run's record is of the fine-tuning: of the training before it, the model knows its step.
    best = f"best at step {meta['step']}" if "step" in meta else "-"
    steps = f"{record['steps']} steps, best at {record['best_step']} by validation" if "steps" in record else best
    version = f"; grn_cotrain {escape(record['version'])}" if record.get("version") else ""
    commit = f", commit {escape(record['commit'])}" if record.get("commit") else ""
    return f"seed {recipe.seed}; {steps}{version}{commit}"


def _data_section(
    recipe: Recipe, record: dict[str, Any], config: dict[str, Any], num_scrubbed: int | None
) -> list[str]:
    meta, prep = config["meta"], recipe.prep
    has_size = {"num_cells", "features"} <= set(record)
    cells = f"{record['num_cells']:,} cells x {counted_features(record['features'])}" if has_size else "-"
    given: Any = () if prep is None else (prep.counts,) if isinstance(prep.counts, str) else prep.counts
    source = f" from {', '.join(code(Path(name).name) for name in given)}" if given else ""
    kind = next((kind for kind in sorted(_SPLITS, key=len, reverse=True) if recipe.data.split.startswith(kind)), "")
    rows = [
        ("cells", f"{cells}{source}; hash {code(record.get('cells_hash', '-'))}"),
        ("network", code(Path(prep.grn).name) if prep and prep.grn else "-"),
        ("split", f"{code(recipe.data.split)}, hash {code(meta.get('split_hash', '-'))}"),
        ("what it holds out", _SPLITS.get(kind, "see its name")),
    ]
    scrubbed = (
        f" Paths of the author's machine ({num_scrubbed}) were replaced by their last part in the copies of"
        " `recipe.yaml` and `run.json`; the recipe's hash is that of the original."
        if num_scrubbed
        else ""
    )
    held = (
        "No cells and no optimiser states are in this repository. `model/graph.safetensors` holds the training edges of"
        " the network, which the graph encoder reads, and the weights hold summaries of expression by gene: the"
        " licences of network and cells may apply to them." + scrubbed
    )
    return ["## Data", _table(rows), held]


# -- results -----------------------------------------------------------------------------------------------------------


def _results_section(folder: RunFolder, config: dict[str, Any]) -> list[str]:
    sections = ["## Results"]
    if not (folder.folder / "links.json").is_file():
        sections.append(
            "Links were **not compared** with controls in this run: nothing is claimed. `grn-cotrain evaluate links`"
            " does it where the data are."
        )
    else:
        sections += _links(folder, config)
    record = folder.record() if folder.record_file.is_file() else {}
    cells = record.get("cells")
    # Fine-tuned runs of earlier versions hold the name of a file there.
    if isinstance(cells, dict) and cells.get("r2") is not None:
        others = ", ".join(
            f"{escape(name[:-3].replace('_', ' '))} {number(value)}" for name, value in cells.items() if name != "r2"
        )
        first = "" if not record.get("cells_by_assay") else f" ({next(iter(record['cells_by_assay']))})"
        sections.append(
            f"Masked values of held-out cells{first}, R2: **{number(cells['r2'])}**, compared with {others}."
        )
    return sections


def _links(folder: RunFolder, config: dict[str, Any]) -> list[str]:
    stored = read_json(folder.folder / "links.json", what="link table", shape={"rows": [{}]})
    try:
        rows, headline, warnings = pd.DataFrame(stored["rows"]), stored["headline_split"], stored["warnings"]
        audits = list(stored["audits"].values())
        rows = rows[(rows["split"] == headline) & (rows["candidates"] == "all")]
        split_hashes = set(rows["split_hash"])
        facts = rows[rows["metric"] == "auroc"].iloc[0]
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(f"link table '{folder.folder}': cannot be read ({error!r}); evaluate the run again") from None
    mine = config["meta"].get("split_hash")
    if mine is not None and mine not in split_hashes:
        raise UserError(f"link table '{folder.folder}': is of another split than the model; evaluate the run again")
    shown = links_table(
        [("", rows)], "all", printed=SUMMARY, controls=_CONTROLS_SHOWN, label=lambda row: row.short_label
    )
    controls = [row for row in link_rows([("", rows)], "all", printed=SUMMARY) if row.kind == "control"]
    num_controls = sum(len(row.names) for row in controls)
    num_shown = sum(len(row.names) for row in controls[:_CONTROLS_SHOWN])
    about = (
        f"Link prediction on {code(headline)}: {facts['num_pairs']:,} candidate pairs, {facts['num_tfs']} TFs,"
        f" prevalence {number(facts['prevalence'], 4)}; the model and the best {num_shown} of"
        f" {num_controls} controls, which need no deep model. Brackets: 95 % bootstrap intervals."
    )
    sentence = [f"**{escape(text)}**" for text in _verdict(folder, bool(controls))]
    return [
        about,
        to_markdown(shown),
        *sentence,
        *(f"Warning: {escape(warning)}." for warning in warnings),
        *map(escape_block, audits),
    ]


def _cell_types_section(classifier: Classifier, record: dict[str, Any]) -> list[str]:
    """Task and cells of the classifier, and its comparison with classifiers without a network."""
    classes = classifier.classes
    on = f" of {code(record['cells_file'])}" if record.get("cells_file") else ""
    about = [
        f"Fine-tuned for the labels {code(classifier.label)}{on} with head {code(classifier.spec.name)}; {len(classes)}"
        f" classes: {escape(name_some(classes, _CLASSES_SHOWN))}."
    ]
    if {"num_train", "num_validation", "num_test", "split"} <= set(record):
        about.append(
            f"Trained on {record['num_train']:,} cells, its epoch picked on {record['num_validation']:,} others, judged"
            f" on {record['num_test']:,} that neither has seen ({escape(record['split'])})."
        )
    if record.get("unseen_classes"):
        about.append(f"Classes among those alone, which it cannot find: {escape(name_some(record['unseen_classes']))}.")
    sections = ["## Cell types", " ".join(about)]
    if not record.get("annotation"):
        return [*sections, "A comparison with baselines is **missing from this run's record**: nothing is claimed."]
    rows = pd.DataFrame(record["annotation"])
    macro = rows[rows["metric"] == "macro_f1"].set_index("scorer")["value"].astype(float)
    others = macro.drop(FINE_TUNED).sort_values(ascending=False, kind="stable")
    found = {(row.scorer, row.metric): row for row in records(rows)}
    lines = []
    for name in (FINE_TUNED, *others.index):
        cells = [found.get((name, key)) for key in _CELL_TYPE_METRICS]
        shown = [figure(None) if one is None else figure(one.value, one.low, one.high) for one in cells]
        first = Cell(name if name == FINE_TUNED else f"{name} (baseline)")
        lines.append(Row([first, *shown], tone="model" if name == FINE_TUNED else ""))
    header = ("scorer", *(metric(key).heading for key in _CELL_TYPE_METRICS))
    best, mine = float(others.iloc[0]), float(macro[FINE_TUNED])
    verdict = "is above" if mine > best else "is not above"
    return [
        *sections,
        to_markdown(table(header, lines, numeric=(1, 2))),
        f"**By macro F1 it {verdict} the best baseline, {escape(others.index[0])}: {number(mine)} compared with"
        f" {number(best)}.**"
        " All were fitted on the same cells and judged on the same held-out cells. Brackets: 95 % bootstrap intervals"
        " over cells, of each by itself and not of the difference.",
    ]


def _verdict(folder: RunFolder, has_controls: bool) -> list[str]:
    """Whether the model beats the best control, by the paired interval of their difference."""
    if not has_controls:
        return ["It was evaluated without controls: what the model adds is unknown."]
    if not (folder.folder / "links_replicates.npz").is_file():
        return []
    table = LinkTable.read(folder.folder)
    differences = table.difference_to_best_control()
    said = []
    for record in differences[differences["split"] == table.headline_split].to_dict("records"):
        value, low, high = (float(record[name]) for name in ("value", "low", "high"))
        change = measured(value, low, high, sign=True)
        if not (math.isfinite(low) and math.isfinite(high)):
            verdict = "was compared without an interval with"
        elif low > 0:
            verdict = "beats"
        elif high < 0:
            verdict = "is worse than"
        else:
            verdict = "does not beat"
        said.append(
            f"By macro AUROC {record['scorer']} {verdict} the best control, {record['control']}: difference {change}."
        )
    return said


# -- prose -------------------------------------------------------------------------------------------------------------


def _limits(recipe: Recipe, config: dict[str, Any], species: str, classifier: Classifier | None) -> str:
    values = escape(config["meta"].get("values", "the values that it was trained on"))
    items = [
        "A score of a link does not show regulation: it shows that the pair resembles pairs of the prior network,"
        " with that network's gaps and fashions (well-studied TFs have more known targets).",
        f"It reads {values} of {species} cells by the names of its own genes; other genes are not read, and the"
        " report of `embed cells` counts them.",
        "Read its numbers on the split above alone: other splits hold out other things and are not comparable.",
    ]
    if recipe.data.expression != "true" or recipe.graph.messages != "true" or recipe.model.table.mode != "trainable":
        items.insert(0, f"This run is an **ablation** ({code(arm_name(recipe))}), made for comparison, not for use.")
    if config["meta"].get("links") == "probe":
        items.append("Its schedule never trained links: the link decoder was fitted afterwards on frozen embeddings.")
    if classifier is not None:
        items.append(
            "Every cell is given one of the classes above, also a cell of another type: `annotate --min-probability`"
            " leaves doubtful cells unassigned."
        )
    return "\n".join(f"- {item}" for item in items)


def _loading(repo_id: str | None, name: str, classifier: Classifier | None) -> str:
    repo = repo_id or "NAME/REPOSITORY"
    name = name if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) else "RUN"  # lines that people paste into a shell
    annotate = "" if classifier is None else f"grn-cotrain annotate {name} CELLS.h5ad --out OUT.h5ad\n"
    return f"""```bash
grn-cotrain hub fetch {repo} --out {name}
grn-cotrain export genes {name} --format safetensors --out genes.safetensors
grn-cotrain embed cells {name} CELLS.h5ad --out OUT.h5ad --zero-shot
{annotate}```

```python
from grn_cotrain import CoTrainModel, hub, tl

run = hub.fetch_run("{repo}")
model = CoTrainModel.load(run)
tl.embed_cells(adata, run)  # adata.obsm["X_grn_cotrain"]
tl.embed_genes(adata, run)  # adata.varm["grn_cotrain"]
```"""
