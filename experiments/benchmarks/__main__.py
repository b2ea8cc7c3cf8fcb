"""Entry point of ``python -m experiments.benchmarks``."""

from experiments.benchmarks.harness import main

if __name__ == "__main__":
    raise SystemExit(main())
