"""Raw files -> prepared folders that :mod:`grn_cotrain` reads."""
