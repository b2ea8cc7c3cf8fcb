"""Metrics and evaluators; every number stands beside its controls."""
