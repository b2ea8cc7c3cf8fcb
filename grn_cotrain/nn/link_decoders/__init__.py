"""Link decoders, one a file."""

from grn_cotrain.nn.link_decoders.base import LINK_DECODERS, LinkDecoder, LinkFactors

__all__ = ["LINK_DECODERS", "LinkDecoder", "LinkFactors"]
