"""A project from two files: look at them, choose settings with a reason for each, write a commented recipe."""

from grn_cotrain.start.project import Project, start_project

__all__ = ["Project", "start_project"]
