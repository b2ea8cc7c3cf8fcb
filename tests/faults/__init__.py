"""Planted faults: damaged and hostile files, wrong types, full disks; ``python -m tests.faults`` runs them."""
