"""Metrics and calibrated probabilities of scored pairs; training and evaluation both need them."""
