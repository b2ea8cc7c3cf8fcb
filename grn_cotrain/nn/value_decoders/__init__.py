"""Decoders of an asymmetric encoder: states of the tokens that it did not read. One form a file."""

from grn_cotrain.nn.value_decoders.base import Decoded, Encoded, ValueDecoder
from grn_cotrain.nn.value_decoders.cross import CrossDecoder
from grn_cotrain.nn.value_decoders.full_length import FullLengthDecoder
from grn_cotrain.nn.value_decoders.latent import LatentDecoder

__all__ = ["CrossDecoder", "Decoded", "Encoded", "FullLengthDecoder", "LatentDecoder", "ValueDecoder"]
