"""Public resources by name or address: a catalogue, a cache that checks what it holds, downloads that resume."""

from .catalogue import Resource, load_catalogue, read_catalogue
from .fetcher import Fetcher
from .resolve import find_resource, known_format, resolve_source

__all__ = [
    "Fetcher",
    "Resource",
    "find_resource",
    "known_format",
    "load_catalogue",
    "read_catalogue",
    "resolve_source",
]
