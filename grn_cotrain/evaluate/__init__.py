"""Metrics and evaluators; every number is compared with its controls."""
