"""Training loop, checkpoints, optimiser, loss weighting, schedules."""
