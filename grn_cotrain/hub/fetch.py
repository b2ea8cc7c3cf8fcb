"""Fetch a run folder from a model hub, and verify it before anything reads it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from grn_cotrain.errors import UserError
from grn_cotrain.files import atomic_folder, write_json
from grn_cotrain.hub.client import check_repo_id, client, in_one_line
from grn_cotrain.hub.manifest import MANIFEST, README, accepted, benign, read_manifest, safe_name, verify

__all__ = ["HUB_FILE", "PREFIX", "fetch_run", "resolve_run"]

HUB_FILE = "hub.json"
"""In a fetched run: repository and commit that it came from."""
PREFIX = "hf://"


def fetch_run(
    repo_id: str,
    out: str | Path | None = None,
    *,
    revision: str | None = None,
    cache: str | Path | None = None,
    token: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Fetch a published run. The checksum of every file is compared with the manifest; nothing pickled is accepted.

    Parameters
    ----------
    repo_id
        ``NAME/REPOSITORY``, pushed by :func:`~grn_cotrain.hub.push_run`.
    out
        Run folder to write, new or empty; default: a folder of ``cache``, by repository and commit.
    revision
        Branch, tag or commit; default: the main branch. The commit is recorded in ``hub.json``.
    cache
        Default: the user's cache folder of this package.
    token
        Default: the user's login, or the environment's ``HF_TOKEN``.
    say
        Function that receives a line about what was fetched.

    Returns
    -------
    Path
        The run folder: every command that takes a RUN accepts it.

    Raises
    ------
    MissingExtraError
        huggingface_hub is not installed.
    UserError
        No such repository or revision; no run; a file that isn't accepted, is missing, or isn't the one that was
        pushed; ``out`` has content. Nothing is left then.
    """
    check_repo_id(repo_id)
    what = f"hub '{repo_id}'"
    target = None if out is None else Path(out)
    if target is not None and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"--out '{target}': exists and is not empty; give a new folder")
    api = client(token)
    with in_one_line(repo_id, "fetching"):
        commit = str(api.repo_info(repo_id, revision=revision).sha)
        names = api.list_repo_files(repo_id, revision=commit)
    for name in names:
        if not safe_name(name):
            raise UserError(f"{what}: holds '{name}', outside of the folder; it is refused")
        if not (accepted(name) or benign(name)):
            raise UserError(
                f"{what}: holds '{name}', which is neither safetensors, JSON, YAML, Markdown nor HTML; it is refused"
            )
    if MANIFEST not in names:
        raise UserError(f"{what}: has no {MANIFEST}; give a repository made by `grn-cotrain hub push`")
    if target is None:
        target = _cache(cache) / repo_id.replace("/", "--") / commit
        if (target / MANIFEST).is_file():
            verify(target, read_manifest(target / MANIFEST, what), what)
            return target
    with in_one_line(repo_id, "fetching"):
        place = Path(api.snapshot_download(repo_id, revision=commit, allow_patterns=[n for n in names if accepted(n)]))
    files = read_manifest(place / MANIFEST, what)
    verify(place, files, what)
    with atomic_folder(target) as temporary:
        for name in [*files, MANIFEST, *([README] if (place / README).is_file() else [])]:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place / name, temporary / name)
        verify(temporary, files, what)
        write_json(temporary / HUB_FILE, {"repo_id": repo_id, "commit": commit})
    unlisted = sorted(set(names) - set(files) - {MANIFEST, README} - {name for name in names if benign(name)})
    if unlisted:
        say(f"not fetched, since no manifest lists them: {', '.join(unlisted)}")
    say(f"{repo_id} at {commit[:12]}: {len(files)} files, every checksum verified: {target}")
    return target


def resolve_run(run: str | Path, *, say: Callable[[str], None] = lambda text: None) -> Path:
    """A run folder's path as it is; ``hf://NAME/REPOSITORY`` or ``hf://NAME/REPOSITORY@REVISION`` fetched first."""
    text = str(run)
    if not text.startswith(PREFIX):
        return Path(run)
    repo_id, _, revision = text.removeprefix(PREFIX).partition("@")
    return fetch_run(repo_id, revision=revision or None, say=say)


def _cache(cache: str | Path | None) -> Path:
    if cache is not None:
        return Path(cache)
    import pooch

    return Path(pooch.os_cache("grn_cotrain")) / "hub"
