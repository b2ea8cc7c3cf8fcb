"""Push a run folder to a model hub."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from grn_cotrain.errors import UserError
from grn_cotrain.hub.client import check_repo_id, client, in_one_line
from grn_cotrain.hub.manifest import MANIFEST, README, benign
from grn_cotrain.hub.stage import stage_run
from grn_cotrain.options import Options, keywords, option

__all__ = ["PushOptions", "push_run"]


@dataclass(frozen=True, kw_only=True)
class PushOptions(Options):
    """How a run is pushed."""

    private: bool = option(True, "Whether a new repository is private.")
    revision: str | None = option(None, "Branch; made if it isn't there; default: main.")
    token: str | None = option(None, "Token; default: the user's login, or the environment's HF_TOKEN.")
    licence: str | None = option(None, "Licence for the card: mit, cc-by-4.0 ...")
    include: Sequence[str] = option((), "Further files of the run to push, such as report.html.")
    message: str | None = option(None, "Commit message.")


@keywords(PushOptions)
def push_run(
    run: str | Path,
    repo_id: str,
    options: PushOptions,
    *,
    confirm: Callable[[str], bool] | None = None,
    say: Callable[[str], None] = print,
) -> str:
    """Push a run: model, recipe, records, results and a generated model card (:func:`~grn_cotrain.hub.stage_run`).

    No data, no optimiser state and no path of this machine leave it; the files and their size are reported first.

    Parameters
    ----------
    run
        Finished run folder.
    repo_id
        ``NAME/REPOSITORY``; made if it isn't there. A repository with other content is refused.
    {options}
    confirm
        Asked before the upload; False stops it.
    say
        Function that receives lines about files, sizes and replaced paths.

    Returns
    -------
    str
        Address of the commit; empty where ``confirm`` returned False.

    Raises
    ------
    MissingExtraError
        huggingface_hub is not installed.
    UserError
        No finished model; no such name, no right to write, no connection.
    """
    check_repo_id(repo_id)
    private, revision, licence = options.private, options.revision, options.licence
    api = client(options.token)
    with tempfile.TemporaryDirectory(prefix="grn-cotrain-hub-") as place:
        staged = stage_run(run, Path(place) / "run", repo_id=repo_id, licence=licence, include=options.include)
        say(f"to push to {repo_id}" + (" (private, if it is new)" if private else " (public, if it is new)") + ":")
        for line in staged.lines():
            say(line)
        if licence is None:
            say("  no licence is given: others may not use the model; name one with --license")
        if confirm is not None and not confirm(f"push {len(staged.sizes)} files to {repo_id}?"):
            say("nothing was pushed")
            return ""
        with in_one_line(repo_id, "pushing"):
            api.create_repo(repo_id, private=private, repo_type="model", exist_ok=True)
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            there = [name for name in api.list_repo_files(repo_id, revision=revision) if not benign(name)]
            if MANIFEST not in there and set(there) - {README}:
                raise UserError(
                    f"REPO_ID '{repo_id}': holds other files ({sorted(there)[0]} ...); give a new repository"
                )
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=str(staged.folder),
                repo_type="model",
                revision=revision,
                commit_message=options.message or "Push a grn_cotrain run",
                delete_patterns=["model/*"],  # what an earlier push had there and this one has not
            )
    address = str(getattr(commit, "commit_url", commit))
    say(f"pushed: {address}")
    return address
