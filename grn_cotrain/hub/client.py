"""The hub's client, imported where it is used, and its errors in one line each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from grn_cotrain.errors import MissingExtraError, UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["check_repo_id", "client", "in_one_line"]

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_repo_id(repo_id: str) -> str:
    """``repo_id`` if it is one: ``NAME/REPOSITORY``."""
    if not _REPO_ID.fullmatch(repo_id) or "--" in repo_id or ".." in repo_id or len(repo_id) > 96:
        raise UserError(f"REPO_ID '{repo_id}': not of the form NAME/REPOSITORY; give the owner's and the model's name")
    return repo_id


def client(token: str | None) -> HfApi:
    """The client; without ``token`` it takes the one of the user's login or of the environment."""
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtraError(
            "hub: huggingface_hub is not installed; install the extra: pip install 'grn-cotrain[hub]'"
        ) from None
    return huggingface_hub.HfApi(token=token, library_name="grn_cotrain")


@contextmanager
def in_one_line(repo_id: str, doing: str) -> Iterator[None]:
    """Turn whatever the client raises into one line that names the repository and the fix."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # its exceptions have no common base: HTTP, validation, missing login, no connection
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"hub '{repo_id}': {doing} failed ({type(error).__name__}: {reason}); check the name, your login"
            " (`hf auth login`, or HF_TOKEN) and the connection"
        ) from None
