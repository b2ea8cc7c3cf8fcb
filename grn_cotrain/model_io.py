"""A model folder: safetensors + JSON, written atomically, checked on reading. Nothing is unpickled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from grn_cotrain.config import parse, to_dict
from grn_cotrain.controls.pair_evidence import PairEvidence
from grn_cotrain.data.io.sparse_check import index_in_range
from grn_cotrain.data.nodes import Nodes
from grn_cotrain.data.relations import RelationEdges
from grn_cotrain.data.vocab import FeatureVocab
from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_folder, read_json, refuse_file, sha256_file, write_json
from grn_cotrain.manifest import MODEL_MANIFEST, RUN_MANIFEST, Manifest
from grn_cotrain.model import CoTrainNetwork, ModelInputs
from grn_cotrain.recipe import ModelConfig
from grn_cotrain.run_folder import find_model
from grn_cotrain.strict import check_shape, shown

__all__ = [
    "FORMAT_VERSION",
    "add_to_model",
    "check_model_output",
    "load_model",
    "load_network",
    "read_tensors",
    "save_model",
]

FORMAT_VERSION = 2
_READABLE = (1, FORMAT_VERSION)  # in format 1 every feature was a node, and regulation the only relation
_META = ("recipe_hash", "values", "split", "split_hash", "schedule", "links")
_CONFIG_SHAPE = {
    "model": {str: None},
    "objectives": {str: {str: None}},
    "features": {str: [int]},
    "evidence?": [str],
    "bidirectional": bool,
    "covariates?": {str: [str]},
    "relations?": [str],
    "num_linked?": int,
    "backend": str,
    "vocab_hash": str,
    "sha256": {
        str: str,
    },
    "meta": {
        "step?": int,
        "kinds?": {str: str},
        "validation?": {str: (float, type(None))},
        **{f"{name}?": str for name in _META},
    },
}
_CONFIG_KEYS = (
    "model",
    "objectives",
    "features",
    "evidence",
    "bidirectional",
    "backend",
    "vocab_hash",
    "sha256",
    "meta",
)


_MANIFEST_FACTS = ("run_id", "recipe_hash", "split", "split_hash", "step")


def check_model_output(path: str | Path, *, overwrite: bool) -> None:
    """Refuse to write a model over anything but nothing or, if ``overwrite``, an earlier model."""
    path = Path(path)
    refuse_file(path, option="model")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not all((path / name).is_file() for name in ("config.json", "vocab.json", "model.safetensors")):
        raise UserError(f"model '{path}': is a folder with other content; give a new folder")
    if not overwrite:
        raise UserError(f"model '{path}': holds a model already; give another folder, or overwrite=True")


def save_model(folder: str | Path, model: CoTrainNetwork, *, backend: str, meta: dict[str, Any]) -> None:
    """Write ``model`` to ``folder``: config.json, vocab.json, and the weights, graph and evidence as safetensors.

    ``meta`` is kept in config.json: hashes of recipe, split and data, step, validation metrics. ``model_manifest.json``
    lists all files, and what of ``meta`` ties the model to its run.
    """
    inputs = model.inputs
    with atomic_folder(folder) as temporary:
        state = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
        save_file(state, temporary / "model.safetensors")
        graph = {"message_2E": inputs.message_2E, "sign_E": inputs.sign_E}
        graph |= inputs.others.to_arrays()
        if model.nodes.num_nodes < model.nodes.num_features:
            graph["node_N"] = model.nodes.feature_N
        if inputs.weight_E is not None:  # a model whose edges weigh alike has the file that it always had
            graph["weight_E"] = inputs.weight_E
        save_arrays(
            {name: np.ascontiguousarray(array) for name, array in graph.items()}, temporary / "graph.safetensors"
        )
        if inputs.evidence is not None:
            save_arrays(inputs.evidence.to_arrays(), temporary / "evidence.safetensors")
        inputs.vocab.save(temporary / "vocab.json")
        files = sorted(path.name for path in temporary.iterdir())
        config = {
            "format_version": FORMAT_VERSION,
            "model": to_dict(model.config),
            "objectives": {name: to_dict(module.config) for name, module in model.objectives.items()},
            "features": {name: list(array.shape) for name, array in inputs.features.items()},
            "evidence": list(inputs.evidence.names) if inputs.evidence is not None else None,
            "bidirectional": inputs.bidirectional,
            "covariates": {name: list(names) for name, names in inputs.covariates.items()},
            "relations": list(inputs.others.names),
            "num_linked": model.nodes.num_genes,
            "backend": backend,
            "vocab_hash": inputs.vocab.content_hash,
            "sha256": {name: sha256_file(temporary / name) for name in files},
            "meta": meta,
            "manifest": MODEL_MANIFEST,
        }
        write_json(temporary / "config.json", config)
        facts = {key: meta[key] for key in _MANIFEST_FACTS if key in meta}
        manifest = Manifest(facts | {"vocab_hash": inputs.vocab.content_hash})
        manifest.with_files(temporary, [*files, "config.json"]).write(temporary / MODEL_MANIFEST)
    _enter(Path(folder))


def _enter(folder: Path) -> None:
    """Enter the manifest of a model in that of its run, where it is listed there already."""
    path, name = folder.parent / RUN_MANIFEST, f"{folder.name}/{MODEL_MANIFEST}"
    if path.is_file() and name in (listed := Manifest.read(path)).files:
        listed.with_files(folder.parent, [name]).write(path)


def add_to_model(folder: str | Path, name: str) -> None:
    """Enter in the manifest of a model a file that was just written next to it, such as ``platt.json``."""
    folder = Path(folder)
    if not (folder / MODEL_MANIFEST).is_file():  # an earlier version wrote it
        return
    Manifest.read(folder / MODEL_MANIFEST).with_files(folder, [name]).write(folder / MODEL_MANIFEST)
    _enter(folder)


def read_tensors(path: Path, *, sha256: str | None = None, numpy: bool = False) -> dict[str, Any]:
    """Read a safetensors file; a missing, damaged or exchanged file is a one-line error."""
    if not path.is_file():
        raise UserError(f"file '{path}': missing; the folder is incomplete, train again or copy it whole")
    if sha256 is not None and sha256_file(path) != sha256:
        raise UserError(
            f"file '{path}': damaged (checksum differs from the recorded one); copy it again or train again"
        )
    try:
        return dict(load_arrays(path) if numpy else load_file(path))
    except SafetensorError as error:
        raise UserError(f"file '{path}': damaged ({error}); copy it again or train again") from None


def _check_graph(graph: dict[str, Any], num_genes: int, what: str) -> None:
    """Refuse a message graph whose edges are not pairs of genes."""
    message_2E, sign_E = graph.get("message_2E"), graph.get("sign_E")
    if message_2E is None or sign_E is None or message_2E.shape != (2, sign_E.size):
        raise UserError(f"{what}: damaged (it holds no edges with one sign each); copy it again or train again")
    index_in_range(message_2E, num_genes, what, name="ends of edges")


def _nodes(config: dict[str, Any], graph: dict[str, Any], num_features: int, what: str) -> Nodes:
    """Which features are nodes: those that are listed, or all; in format 1 all of them take part in links too."""
    try:
        feature_N = np.asarray(graph.get("node_N", np.arange(num_features)), dtype=np.int64)
        return Nodes(feature_N, num_features, config.get("num_linked", num_features))
    except UserError as error:
        raise UserError(f"{what}: damaged ({error}); copy it again or train again") from None


def _others(config: dict[str, Any], graph: dict[str, Any], nodes: Nodes, what: str) -> RelationEdges:
    """Message edges of other relations than regulation."""
    try:
        others = RelationEdges.from_arrays(graph, config.get("relations", []))
        index_in_range(others.pairs_2E, nodes.num_features, what, name="ends of edges")
        nodes.pairs(others.pairs_2E)
    except UserError as error:
        raise UserError(f"{what}: damaged ({error}); copy it again or train again") from None
    return others


def _check_sizes(config: dict[str, Any], width: int, num_genes: int, state: dict[str, Any], where: str) -> None:
    """Refuse sizes that the weights do not have, before anything of that size is allocated."""
    shapes = {tuple(tensor.shape) for tensor in state.values()}
    fix = "copy the model folder whole"
    if not any(len(shape) > 1 and width in shape for shape in shapes):
        raise UserError(f"{where}: key 'model.width' holds {width}, which no weight has; {fix}")
    for name, shape in config["features"].items():
        if len(shape) != 2 or shape[0] != num_genes or tuple(shape) not in shapes:
            raise UserError(f"{where}: key 'features.{name}' holds {shown(shape)}, which no weight has; {fix}")


def load_model(folder: str | Path, *, backend: str | None = None) -> tuple[CoTrainNetwork, dict[str, Any]]:
    """Read a model folder; returns the model in evaluation mode and its config.json.

    Parameters
    ----------
    folder
        A ``model/`` folder, as :func:`save_model` writes it.
    backend
        Message-passing back end; default: the one it was trained with.

    Raises
    ------
    UserError
        The folder is missing, incomplete, damaged, or written by a newer version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"model folder '{folder}': no such folder; train first, or give the folder of a finished run")
    config = read_json(folder / "config.json", what="model configuration", shape={})
    if config.get("format_version") not in _READABLE:
        raise UserError(
            f"model folder '{folder}': format_version {config.get('format_version')!r}, this version reads"
            f" {' and '.join(map(str, _READABLE))}; install the version that wrote it"
        )
    missing = [key for key in _CONFIG_KEYS if key not in config]
    if missing:
        raise UserError(f"model folder '{folder}': config.json lacks {', '.join(missing)}; copy the folder whole")
    where = f"model configuration '{folder / 'config.json'}'"
    check_shape(config, _CONFIG_SHAPE, where)
    sums = {} if _listed(folder, config) else config["sha256"]
    vocab = FeatureVocab.load(folder / "vocab.json")
    if vocab.content_hash != config["vocab_hash"]:
        raise UserError(f"model folder '{folder}': vocab.json belongs to another model; copy the folder whole")
    state = read_tensors(folder / "model.safetensors", sha256=sums.get("model.safetensors"))
    graph = read_tensors(folder / "graph.safetensors", sha256=sums.get("graph.safetensors"), numpy=True)
    graph_file = f"file '{folder / 'graph.safetensors'}'"
    nodes = _nodes(config, graph, vocab.num_features, graph_file)
    _check_graph(graph, nodes.num_genes, graph_file)
    evidence = None
    if config["evidence"] is not None:
        arrays = read_tensors(folder / "evidence.safetensors", sha256=sums.get("evidence.safetensors"), numpy=True)
        evidence = PairEvidence.from_arrays(arrays, names=tuple(config["evidence"]))
    # Models of before the key existed have the states that their encoders gave.
    model_config = parse(ModelConfig, {"cell_state": "encoder", **config["model"]}, path="model")
    _check_sizes(config, model_config.width, nodes.num_nodes, state, where)
    inputs = ModelInputs(
        vocab=vocab,
        # Starting rows only need the right shape: the saved state overwrites them.
        init_GD=np.zeros((nodes.num_nodes, model_config.width), np.float32),
        features={name: np.zeros(shape, np.float32) for name, shape in config["features"].items()},
        evidence=evidence,
        message_2E=graph["message_2E"],
        sign_E=graph["sign_E"],
        weight_E=graph.get("weight_E"),
        bidirectional=config["bidirectional"],
        covariates={name: tuple(names) for name, names in config.get("covariates", {}).items()},
        nodes=nodes,
        others=_others(config, graph, nodes, graph_file),
    )
    # The table's mode only concerns training; loading must not ask for PCA rows again.
    table = replace(model_config.table, feature_matrix=None)
    if config["format_version"] == 1:
        table = replace(table, nodes=tuple(dict.fromkeys(("gene", *vocab.modality))))
    loadable = replace(model_config, table=table)
    model = CoTrainNetwork(loadable, config["objectives"], inputs, backend=backend or config["backend"])
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"model folder '{folder}': weights do not fit config.json ({error}); copy it whole") from None
    model.meta = dict(config["meta"])
    model.eval()
    return model, config


def _listed(folder: Path, config: dict[str, Any]) -> bool:
    """Compare a model folder with its manifest; False where an earlier version wrote it, without one.

    Raises
    ------
    UserError
        A file is missing, differs, or was added by another program.
    """
    path = folder / MODEL_MANIFEST
    if not path.is_file():
        if "manifest" in config:
            raise UserError(f"model folder '{folder}': {MODEL_MANIFEST} is missing; copy the folder whole")
        return False
    Manifest.check_model(folder)
    return True


def load_network(path: str | Path, *, backend: str | None = None) -> CoTrainNetwork:
    """Load a trained network, in evaluation mode. Checksums are verified and nothing is unpickled.

    Parameters
    ----------
    path
        A run folder (its best model is taken) or a model folder.
    backend
        Message-passing back end; default: the one it was trained with.

    Raises
    ------
    UserError
        No model there; files missing, damaged, exchanged or written by a newer version.
    """
    return load_model(find_model(path), backend=backend)[0]


def save_network(path: str | Path, network: CoTrainNetwork, *, overwrite: bool = False) -> None:
    """Write a model folder that :func:`load_network` reads: safetensors and JSON with checksums, whole or not at all.

    Weights, message graph, evidence, vocabulary, back end and ``meta`` are kept. What is fitted to the run's own
    weights stays there: the calibration of link probabilities (``platt.json``) and the directions of read depth
    (``depth.json``).

    Parameters
    ----------
    path
        Folder to write.
    network
        A trained or new network.
    overwrite
        Replace a model folder that exists there. A folder with other content is refused in any case.

    Raises
    ------
    UserError
        ``path`` is a file, a folder with other content, or holds a model and ``overwrite`` is False.
    """
    check_model_output(path, overwrite=overwrite)
    save_model(path, network, backend=network.backend, meta=network.meta)
