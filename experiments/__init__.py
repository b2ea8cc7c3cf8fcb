"""Studies, recipes and benchmarks over :mod:`grn_cotrain`."""
