"""Side-by-side benchmarks against peers: ``python -m experiments.benchmarks B6 B7 [--quick] [--out DIR]``."""
