"""Every cell encoder under the contract of :mod:`tests.cases.cell_encoders`."""

from __future__ import annotations

from grn_cotrain.nn.cell_encoders import CELL_ENCODERS
from tests.cases.cell_encoders import CellEncoderCase


class TestTransformer(CellEncoderCase):
    name = "transformer"


class TestTransformerOnBins(CellEncoderCase):
    name = "transformer"
    options = {"values": "bins", "num_layers": 1, "num_heads": 4}


class TestScMBERT(CellEncoderCase):
    name = "scmbert"
    options = {"num_heads": 2}


class TestGeneformer(CellEncoderCase):
    name = "geneformer"
    options = {"num_layers": 2, "num_heads": 2}


class TestGeneformerPreNormByCls(CellEncoderCase):
    name = "geneformer"
    options = {
        "num_layers": 1,
        "norm": "pre",
        "activation": "gelu",
        "pooling": "cls",
        "cell_layer": -1,
        "max_ranks": 6,
    }


class TestScBERT(CellEncoderCase):
    name = "scbert"
    options = {"num_heads": 2}


class TestScBERTOnQuantilesByMax(CellEncoderCase):
    name = "scbert"
    options = {"bins": "quantile", "pooling": "max", "num_layers": 1, "head_width": 3, "num_features": 7}


class TestXTrimoGenePublished(CellEncoderCase):
    name = "xtrimogene"
    options = {"num_layers": 2, "num_heads": 2}


class TestXTrimoGeneA(CellEncoderCase):
    name = "xtrimogene"
    options = {"decoder": "A", "num_layers": 2, "num_heads": 2, "pooling": "max", "values": "equal"}


class TestXTrimoGeneD2(CellEncoderCase):
    name = "xtrimogene"
    options = {"decoder": "D2", "num_heads": 2, "num_latents": 5, "latent_layers": 1, "values": "up"}


class TestXTrimoGeneD1(CellEncoderCase):
    name = "xtrimogene"
    options = {
        "decoder": "D1",
        "num_latents": 4,
        "latent_layers": 1,
        "decoder_layers": 2,
        "decode_zeros": True,
        "decode_visible": True,
        "values": "round",
    }


class TestXTrimoGeneC(CellEncoderCase):
    name = "xtrimogene"
    options = {"decoder": "C", "num_latents": 4, "latent_layers": 2, "pooling": "mean"}
    takes_bias = False


class TestScFoundation(CellEncoderCase):
    name = "scfoundation"
    options = {"num_layers": 2, "num_heads": 2, "pooling": "all"}


class TestScFoundationAsReleased(CellEncoderCase):
    name = "scfoundation"
    options = {"num_layers": 2, "num_heads": 2, "norm": "post", "activation": "relu", "offsets": True, "slope": 0.1}


class TestScFoundationA(CellEncoderCase):
    name = "scfoundation"
    options = {"decoder": "A", "num_layers": 2, "values": "equal"}


class TestScFoundationC(CellEncoderCase):
    name = "scfoundation"
    options = {"decoder": "C", "num_latents": 4, "latent_layers": 1}
    takes_bias = False


class TestScGPT(CellEncoderCase):
    name = "scgpt"
    options = {"num_heads": 2}


class TestScGPTReadingAll(CellEncoderCase):
    name = "scgpt"
    options = {"attention_mask": "full", "values": "bins", "conditions": "output"}


class TestScGPTOnValuesWithNormsAfter(CellEncoderCase):
    name = "scgpt"
    options = {"values": "continuous", "post_norm": True, "activation": "relu", "num_layers": 1, "dropout": 0.1}


def test_every_component_is_covered() -> None:
    assert {case.name for case in CellEncoderCase.__subclasses__()} == set(CELL_ENCODERS.names())
