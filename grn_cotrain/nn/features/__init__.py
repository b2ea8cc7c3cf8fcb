"""Sources of inductive gene features, one a file: what is known of a gene without an id row."""

from grn_cotrain.nn.features.base import FEATURE_SOURCES, FeatureContext, FeatureSource

__all__ = ["FEATURE_SOURCES", "FeatureContext", "FeatureSource"]
