"""Every objective that reads cells under the contract of :mod:`tests.cases.objectives`."""

from __future__ import annotations

from grn_cotrain.objectives import OBJECTIVES
from tests.cases.objectives import CellObjectiveCase


class TestMaskedValue(CellObjectiveCase):
    name = "masked_value"


class TestMaskedValueWithZeros(CellObjectiveCase):
    name = "masked_value"
    options = {"mask_zeros": True, "mask_share": 0.5}


class TestMaskedValueOverBins(CellObjectiveCase):
    name = "masked_value"
    options = {"loss": "cross_entropy", "mask_zeros": True}


class TestMaskedValueAsScBERT(CellObjectiveCase):
    name = "masked_value"
    options = {"loss": "cross_entropy", "classes": "rounded", "mask_share": 0.15}


class TestMaskedValueAsXTrimoGene(CellObjectiveCase):
    name = "masked_value"
    options = {
        "mask_zeros": True,
        "mask_balance": "equal_count",
        "target": "value",
        "loss_norm": "published",
        "head": "linear",
    }


class TestMaskedValueByAnMLP(CellObjectiveCase):
    name = "masked_value"
    options = {"head": "mlp", "mask_zeros": True, "mask_balance": "ratio10"}


class TestReadDepth(CellObjectiveCase):
    name = "read_depth"
    options = {"min_total": 0, "thin_share": 1.0}


class TestReadDepthAsScFoundation(CellObjectiveCase):
    name = "read_depth"
    options = {"mask_zeros": True, "target": "value", "head": "mlp", "min_total": 0}


class TestReadDepthOverBins(CellObjectiveCase):
    name = "read_depth"
    options = {"loss": "cross_entropy", "mask_zeros": True, "mask_balance": "equal_count", "min_total": 0}


class TestModality(CellObjectiveCase):
    name = "modality"
    options = {"mask_share": 0.3}


class TestModalityThatIsShown(CellObjectiveCase):
    name = "modality"
    options = {"modality_input": "visible", "modality_weight": 0.0}


class TestMaskedGene(CellObjectiveCase):
    name = "masked_gene"


class TestMaskedGeneAlwaysMasked(CellObjectiveCase):
    name = "masked_gene"
    options = {"share": 0.4, "mask_share": 1.0, "random_share": 0.0, "activation": "gelu"}


class TestGenerative(CellObjectiveCase):
    name = "generative"


class TestGenerativeOverBinsWithZeros(CellObjectiveCase):
    name = "generative"
    options = {"target": "bin", "hide_zeros": True, "prompt_gradient": True, "shares": [0.5, 1.0]}


class TestGenerativeFromGenesAlone(CellObjectiveCase):
    name = "generative"
    options = {"cell_prompt_weight": 0.0}


class TestGeneFromCell(CellObjectiveCase):
    name = "gene_from_cell"
    options = {"covariate_dropout": 0.0}  # drawn as dropout is, not from the step's generator
    covariates = ("batch",)


class TestGeneFromCellOverBinsWithZeros(CellObjectiveCase):
    name = "gene_from_cell"
    options = {"target": "bin", "hide_zeros": True}


class TestProfileFromCell(CellObjectiveCase):
    name = "profile_from_cell"
    draws = False  # the head starts at zero, and what is hidden is predicted as what is not


class TestProfileFromCellOfItsOwnView(CellObjectiveCase):
    name = "profile_from_cell"
    options = {"view": "own", "mask_share": 0.5}
    draws = False


class TestAdversarialCovariate(CellObjectiveCase):
    name = "adversarial_covariate"
    options = {"covariate": "donor", "strength": 0.1}
    covariates = ("batch", "donor")
    draws = False
    adversarial = True


def test_every_component_is_covered() -> None:
    """Objectives that read links only are covered by ``test_link_objectives.py``."""
    reading_cells = {name for name in OBJECTIVES.names() if OBJECTIVES.get(name).reads_cells}
    assert {case.name for case in CellObjectiveCase.__subclasses__()} == reading_cells
