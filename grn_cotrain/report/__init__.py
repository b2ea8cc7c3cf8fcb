"""One self-contained HTML page over one or several runs: results and controls, data, training, provenance."""

from __future__ import annotations

from grn_cotrain.report.write import write_report

__all__ = ["write_report"]
