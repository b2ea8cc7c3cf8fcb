"""Probes: what a linear map can read from gene vectors, compared with controls that know less."""

from __future__ import annotations

from grn_cotrain.card.probes.base import FeatureScore, NotRun, Probe, ProbeResult, run_probe
from grn_cotrain.card.probes.features import probe_features

__all__ = ["FeatureScore", "NotRun", "Probe", "ProbeResult", "probe_features", "run_probe"]
