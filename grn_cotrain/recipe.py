"""The dataclass tree of one run: data, graph, model, objectives, training, evaluation. No torch here.

A recipe is a YAML file with these keys; ``grn-cotrain check RECIPE`` parses, resolves and audits it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from grn_cotrain.config import (
    apply_overrides,
    expand_environment,
    load_yaml,
    parse,
    require,
    require_number,
    require_seed,
    to_dict,
)
from grn_cotrain.recipe_model import ModelConfig, TableConfig, TokenConfig
from grn_cotrain.recipe_train import ScheduleConfig, TrainConfig, WeightingConfig

__all__ = [
    "PATHS",
    "DataConfig",
    "EvaluateConfig",
    "GraphConfig",
    "ModelConfig",
    "PrepConfig",
    "Recipe",
    "ScheduleConfig",
    "SplitConfig",
    "TableConfig",
    "TokenConfig",
    "TrainConfig",
    "WeightingConfig",
    "load_recipe",
]

PATHS = frozenset(
    (
        "data.prep",
        "model.table.feature_matrix",
        *(f"prep.{name}" for name in ("counts", "counts[]", "aliases", "current_symbols", "orthologs", "grn")),
        "prep.tf_list",
        *(f"prep.splits[].{name}" for name in ("train", "validation", "test", "index", "source_prep")),
    )
)
"""Keys of a recipe whose values are paths: in these alone an environment variable is expanded."""


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How edges are split: the options of ``grn-prep splits``.

    Attributes
    ----------
    kind
        Edges that are hidden: a share of every TF's targets, whole TFs, whole targets, both, labelled pairs from files,
        or another network's edges.
    seed
        Random seed. Another seed gives another split.
    track
        Treatment of the other edges of held-out genes: ``visible`` leaves them in the message graph, ``hidden``
        takes them out.
    every_fold
        Whether ``unseen-target`` makes one split for each of five folds, so that every gene is held out once.
    outdated
        Treatment of genes with an outdated symbol: ``leave-out`` of candidates and edges, or ``keep``.
    train
        ``published`` only: file of labelled training pairs.
    validation
        ``published`` only: file of labelled validation pairs; without it a tenth of ``train`` is taken.
    test
        ``published`` only: file of labelled test pairs.
    index
        ``published`` only: ``FILE:network/cell/set``, the table that maps integers in those files to genes.
    source_prep
        ``transfer`` only: prepared folder whose network trains; this folder's network is the test.
    """

    kind: Literal["random", "unseen-tf", "unseen-target", "unseen-both", "published", "transfer"]
    seed: int = 0
    track: Literal["hidden", "visible"] = "visible"
    every_fold: bool = False
    outdated: Literal["leave-out", "keep"] = "leave-out"
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    index: str | None = None
    source_prep: str | None = None


@dataclass(frozen=True, kw_only=True)
class PrepConfig:
    """How the prepared folder is made from raw files; it is made again when this block or a file has changed.

    Attributes
    ----------
    counts
        File of cells, as ``grn-prep counts`` reads it, or a list of files whose cells are joined.
    layer
        Layer of the file that holds the counts; ``raw`` for ``adata.raw``; null: ``X``.
    modality
        Take one modality of several, such as ``rna``; null: all are features.
    names
        Column of the features that holds their names, where the index of the file does not; null: it is found.
    annotations
        Columns that are not genes, separated by commas, beyond those that are known; they are kept as annotation.
    join
        Several files: features of any file (``outer``) or of every one (``inner``).
    source_key
        Several files: column of ``obs`` that names the file of each cell.
    aliases
        Table of old gene symbols: genes take their current ones.
    current_symbols
        Genes of the current annotation; genes of the data that it lacks are marked, and splits leave them out.
    orthologs
        Table of human and mouse genes: genes take the names of the other species.
    orthologs_policy
        ``one2one`` leaves other orthologs out, ``sum`` adds up genes that share one.
    to_species
        With ``orthologs``: the species wanted, where some files are of it already; null: the other one.
    genes
        Genes to keep: ``all``, or a sum of ``hvg:N``, ``tf`` and ``targets``.
    species
        Species of the gene names; ``auto`` derives it from them.
    grn
        Edge list of the network; null prepares cells alone.
    grn_format
        Format of the edge list; ``auto`` reads it off the columns.
    tf_list
        File of TF symbols, one a line: genes that count as TFs whether they have edges or not.
    splits
        Splits of the network to make.
    """

    counts: str | tuple[str, ...]
    layer: str | None = None
    modality: str | None = None
    names: str | None = None
    annotations: str | None = None
    join: Literal["outer", "inner"] = "outer"
    source_key: str = "source_file"
    aliases: str | None = None
    current_symbols: str | None = None
    orthologs: str | None = None
    orthologs_policy: Literal["one2one", "sum"] = "one2one"
    to_species: Literal["human", "mouse"] | None = None
    genes: str = "all"
    species: Literal["auto", "human", "mouse"] = "auto"
    grn: str | None = None
    grn_format: str = "auto"
    tf_list: str | None = None
    splits: tuple[SplitConfig, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The prepared folder, the split to train and test on, and which cells are held out.

    Attributes
    ----------
    prep
        Prepared folder (``grn-prep counts``); made by the recipe's ``prep`` block where there is one.
    split
        Name of one of its edge splits: ``unseen-tf-visible-seed0-fold0``.
    expression
        Ablation of the cells: ``permuted_genes`` exchanges profiles between genes (TFs among TFs), ``permuted_cells``
        shuffles each gene over cells.
    validation_cells
        Share of the cells that validates masked values.
    test_cells
        Share of the cells whose hidden values are predicted at the end. The split's seed, not the run's, draws them.
    store
        Where values of cells are kept: ``memory``; ``backed``, on disk, from which each batch is read; ``auto``: in
        memory up to about 1 GB. The numbers are the same.
    """

    prep: str
    split: str
    expression: Literal["true", "permuted_genes", "permuted_cells"] = "true"
    validation_cells: float = 0.1
    test_cells: float = 0.1
    store: Literal["auto", "memory", "backed"] = "auto"

    def __post_init__(self) -> None:
        for name in ("validation_cells", "test_cells"):
            require(0 < getattr(self, name) < 0.5, f"{name}: got {getattr(self, name)}; give a share between 0 and 0.5")


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """Message edges: the true training edges, or a control graph drawn from training edges alone.

    Attributes
    ----------
    messages
        ``true``: training edges. ``rewired``: the same degrees, other partners. ``random``: as many edges, drawn
        evenly. ``none``: no message passes.
    bidirectional
        Whether messages also pass from target to TF.
    weights
        Whether graph encoders use the edge weights of the network, relative to the mean weight of the training edges.
    relations
        Relations other than regulation whose edges pass messages; null: all that the network has.
    backend
        Library that moves the messages. All give the same numbers; ``csr`` is the fastest on a CPU.
    """

    messages: Literal["true", "rewired", "random", "none"] = "true"
    bidirectional: bool = True
    weights: bool = True
    relations: tuple[str, ...] | None = field(default=None, metadata={"omit_default": True})
    backend: Literal["torch_geometric", "csr", "dgl", "torch_scatter"] = "torch_geometric"


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Default options of ``grn-cotrain evaluate links``.

    Attributes
    ----------
    controls
        ``default`` (all but the costly ones), ``all``, ``none``, or names separated by commas.
    bootstrap
        Bootstrap replicates of every interval; 0: no intervals.
    probe_steps
        Steps that fit a link decoder to a model that trained none (``mlm_only``).
    """

    controls: str = "default"
    bootstrap: int = 1000
    probe_steps: int = 300

    def __post_init__(self) -> None:
        require_number(self, "bootstrap", "0 or more", lambda value: value >= 0)
        require_number(self, "probe_steps", "at least 1", lambda value: value >= 1)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One run, complete.

    Attributes
    ----------
    name
        Name of the run in tables.
    data
        Prepared folder, split, and cells held out.
    seed
        Random seed of initial weights and of all draws of the run, except the split.
    prep
        How the prepared folder is made; null: it is there.
    graph
        Message edges.
    model
        Table, encoders, coupling, decoder.
    objectives
        Objective -> its options (``grn-cotrain list objective``).
    train
        Optimisation.
    evaluate
        Default options of the evaluation.
    """

    name: str
    data: DataConfig
    seed: int = 0
    prep: PrepConfig | None = None
    graph: GraphConfig = field(default_factory=GraphConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objectives: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"masked_value": {}, "profile_from_cell": {}, "link_prediction": {}}
    )
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __post_init__(self) -> None:
        require_seed(self.seed)

    def to_yaml(self) -> str:
        """The resolved recipe as YAML text, as ``grn-cotrain train`` reads it."""
        import yaml

        return yaml.safe_dump(to_dict(self), sort_keys=False, allow_unicode=True)

    def with_seed(self, seed: int) -> Recipe:
        """The same run under another seed."""
        return replace(self, seed=seed)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a YAML recipe, apply ``--set`` overrides, expand ``${GRN_COTRAIN_...}`` in its paths, parse it strictly."""
    mapping = load_yaml(path)
    return parse(Recipe, expand_environment(apply_overrides(mapping, overrides), PATHS))
