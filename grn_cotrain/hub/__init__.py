"""Run folders on a model hub: pushed with a generated card, fetched with every checksum verified.

Needs the extra ``hub`` (huggingface_hub); a dry run (:func:`stage_run`) and the card do not.
"""

from __future__ import annotations

from grn_cotrain.hub.fetch import fetch_run, resolve_run
from grn_cotrain.hub.model_card import model_card
from grn_cotrain.hub.push import push_run
from grn_cotrain.hub.stage import Staged, stage_run

__all__ = ["Staged", "fetch_run", "model_card", "push_run", "resolve_run", "stage_run"]
