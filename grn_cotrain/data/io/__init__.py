"""Parsing of users' files: count matrices, edge lists, counts-or-log detection."""
