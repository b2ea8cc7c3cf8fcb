"""A project from two files: look at them, choose settings with a reason for each, write a commented recipe."""

from grn_cotrain.start.plan import Plan, prepare_plan
from grn_cotrain.start.project import Project, check_place, start_project

__all__ = ["Plan", "Project", "check_place", "prepare_plan", "start_project"]
