"""Sections of the report, one a file; each is a function ``section(report) -> Section``."""
