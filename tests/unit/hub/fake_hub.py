"""A hub in a folder, with the part of ``huggingface_hub.HfApi`` that is used here."""

from __future__ import annotations

import fnmatch
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FakeHub"]


@dataclass
class Info:
    """What ``repo_info`` returns."""

    sha: str


class FakeHub:
    """Repositories are folders ``ROOT/NAME/REPOSITORY/BRANCH``; a commit is the hash of the branch's content."""

    def __init__(self, root: Path, downloads: Path) -> None:
        self.root, self.downloads = root, downloads
        self.private: dict[str, bool | None] = {}
        self.tokens: list[str | None] = []
        self.snapshots = 0

    def __call__(self, token: str | None = None, library_name: str | None = None) -> FakeHub:
        """Stands in for the class itself."""
        self.tokens.append(token)
        return self

    def branch(self, repo_id: str, revision: str | None = None) -> Path:
        """Folder of a branch or of the branch that is at a commit."""
        repo = self.root / repo_id
        if not repo.is_dir():
            raise OSError(f"404 Client Error\n\nRepository Not Found: {repo_id}")
        for folder in sorted(repo.iterdir()):
            if revision in (folder.name, self.commit(folder)) or (revision is None and folder.name == "main"):
                return folder
        raise OSError(f"Revision Not Found: {revision}")

    @staticmethod
    def commit(folder: Path) -> str:
        digest = hashlib.sha1()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
        return digest.hexdigest()

    # -- the client's methods ------------------------------------------------------------------------------------------

    def create_repo(self, repo_id: str, *, private: bool | None, repo_type: str, exist_ok: bool) -> str:
        assert (repo_type, exist_ok) == ("model", True)
        main = self.root / repo_id / "main"
        if not main.is_dir():
            main.mkdir(parents=True)
            (main / ".gitattributes").write_text("*.safetensors filter=lfs\n")
            self.private[repo_id] = private
        return repo_id

    def create_branch(self, repo_id: str, *, branch: str, exist_ok: bool) -> None:
        assert exist_ok
        if not (self.root / repo_id / branch).is_dir():
            shutil.copytree(self.root / repo_id / "main", self.root / repo_id / branch)

    def list_repo_files(self, repo_id: str, *, revision: str | None = None) -> list[str]:
        folder = self.branch(repo_id, revision)
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def repo_info(self, repo_id: str, *, revision: str | None = None) -> Info:
        return Info(self.commit(self.branch(repo_id, revision)))

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: str,
        repo_type: str,
        revision: str | None,
        commit_message: str,
        delete_patterns: list[str],
    ) -> str:
        assert repo_type == "model"
        assert commit_message
        folder = self.branch(repo_id, revision)
        for name in self.list_repo_files(repo_id, revision=revision):
            if any(fnmatch.fnmatch(name, pattern) for pattern in delete_patterns):
                (folder / name).unlink()
        shutil.copytree(folder_path, folder, dirs_exist_ok=True)
        return f"hub/{repo_id}/commit/{self.commit(folder)}"

    def snapshot_download(self, repo_id: str, *, revision: str, allow_patterns: list[str]) -> str:
        self.snapshots += 1
        folder = self.branch(repo_id, revision)
        target = self.downloads / f"snapshot-{self.snapshots}"
        for name in self.list_repo_files(repo_id, revision=revision):
            if any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, target / name)
        return str(target)
