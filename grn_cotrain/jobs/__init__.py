"""Options of every job, one dataclass each: for the command line, for Python and for the docs. No torch here."""
