"""``python -m grn_cotrain.cli``."""

from grn_cotrain.cli import main

if __name__ == "__main__":
    main()
