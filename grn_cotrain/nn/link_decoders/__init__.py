"""Link decoders, one a file."""

from grn_cotrain.nn.link_decoders.base import LINK_DECODERS, HeldOut, LinkDecoder, LinkFactors, PairEvidence

__all__ = ["LINK_DECODERS", "HeldOut", "LinkDecoder", "LinkFactors", "PairEvidence"]
