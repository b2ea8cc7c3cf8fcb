"""``python -m grn_cotrain``: the command line."""

from __future__ import annotations

from grn_cotrain.cli import main

if __name__ == "__main__":
    main()
