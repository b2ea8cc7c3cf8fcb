"""The classes of faults: flipped bytes, wrong types, hostile files, full disks. Each yields named tries."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.faults.child import ONE_LINE, RIGHT, Outcome, run_forked
from tests.faults.hostile import PLACED, hostile_files
from tests.faults.subject import RUN, Case, Subject, leaves, probe_of

__all__ = ["CLASSES"]

Try = tuple[str, Case]

_WRONG: tuple[Any, ...] = (
    *(None, True, -1, 0, 3.5, 10**8, 10**18, -(10**18), 1e300, "", "x", "1", "../..", "\u0000", "a\nb", "<b>"),
    *([], [1], [[]], ["x"], {}, {"x": 1}, {"name": None}),
)


def byte_flips(subject: Subject, count: int, seed: int) -> Iterator[Try]:
    """One random bit of one random byte; every file gets its share."""
    draw = random.Random(seed)
    files = subject.files()
    for number in range(count):
        name = files[number % len(files)]
        size = (subject.folder / name).stat().st_size
        place, bit = draw.randrange(max(1, size)), draw.randrange(8)

        def plant(case: Path, name: str = name, place: int = place, bit: int = bit) -> None:
            raw = bytearray((case / name).read_bytes())
            if raw:
                raw[place] ^= 1 << bit
            (case / name).write_bytes(bytes(raw))

        yield f"{name}, byte {place}, bit {bit}", subject.try_fault(plant, probe_of(name))


def wrong_leaves(subject: Subject, count: int, seed: int) -> Iterator[Try]:
    """One leaf of one JSON or YAML file holds a value of another type or size."""
    draw = random.Random(seed)
    files = [name for name in subject.files() if name.endswith((".json", ".yaml"))]
    for number in range(count):
        name = files[number % len(files)]
        load, dump = (json.loads, json.dumps) if name.endswith(".json") else (yaml.safe_load, yaml.safe_dump)
        content = load((subject.folder / name).read_text())
        path = draw.choice(list(leaves(content)))
        value = draw.choice(_WRONG)

        def plant(
            case: Path, name: str = name, content: Any = content, path: Any = path, value: Any = value, dump: Any = dump
        ) -> None:
            (case / name).write_text(dump(_with(content, path, value)))

        yield f"{name}, {'.'.join(map(str, path))} = {value!r}", subject.try_fault(plant, probe_of(name))


def _with(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = dict(content) if isinstance(content, dict) else list(content)
    changed[path[0]] = _with(content[path[0]], path[1:], value)
    return changed


def hostile(subject: Subject, count: int, seed: int) -> Iterator[Try]:
    """Files of strangers: given as arguments, or put in the place of one of ours."""
    tries = hostile_files()
    step = max(1, len(tries) // count)
    for name, (make, arguments) in list(tries.items())[step // 2 + 1 :: step]:
        if isinstance(arguments, str):  # replaces that file
            yield name, _relaxed(subject.try_fault(lambda case, m=make, a=arguments: m(case / a), PLACED[arguments]))
            continue
        case = subject.work / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(subject.folder, case)
        make(case / arguments.file)
        outcome = run_forked(arguments.work(), case)
        yield name, Case(outcome.kind, outcome.line, outcome)


def _relaxed(case: Case) -> Case:
    """A hostile file of ours that is valid after all may give other content: what it says is its author's."""
    return Case(RIGHT, case.line, case.outcome) if case.kind == "other content" else case


def full_disk(subject: Subject, count: int, seed: int) -> Iterator[Try]:
    """From the n-th write on no file can grow; then there is room again and the run goes on to the same weights."""
    whole = subject.work / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir(parents=True)
    shutil.copytree(subject.folder / "prep", whole / "prep")
    shutil.copy(subject.folder / "recipe.yaml", whole / "recipe.yaml")
    counter = whole / "writes"
    outcome = run_forked(_training(None, counter), whole, limit=120)
    assert outcome.code == 0, outcome.err
    total = int(counter.read_text())
    weights = (whole / "out/model/model.safetensors").read_bytes()
    step = max(1, total // count)
    for number in range(1, total + 1, step):
        case = subject.work / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(whole, case, ignore=shutil.ignore_patterns("out", "writes"))
        outcome = run_forked(_training(number, None), case, limit=60)
        yield f"write {number} of {total}", _judge_disk(case, outcome, weights)


def _judge_disk(case: Path, outcome: Outcome, weights: bytes) -> Case:
    if outcome.kind != ONE_LINE:
        return Case("unclear" if outcome.kind == RIGHT else outcome.kind, f"full: {outcome.line}", outcome)
    if "disk is full" not in outcome.line:
        return Case("unclear", f"does not name the disk: {outcome.line}", outcome)
    left = [path.name for path in case.rglob("*") if ".part" in path.name]
    if left:
        return Case("unclear", f"half-written: {', '.join(left)}", outcome)
    again = run_forked(_training(None, None, resume=True), case, limit=60)
    if again.kind != RIGHT:
        return Case("unclear" if again.kind == ONE_LINE else again.kind, f"resume: {again.line}", again)
    same = (case / "out/model/model.safetensors").read_bytes() == weights
    return Case(ONE_LINE if same else "other content", outcome.line, outcome)


def _training(full_at: int | None, counter: Path | None, *, resume: bool = False) -> Callable[[], int]:
    """Train in ``out``. The ``full_at``-th write and all after it meet a limit of the kernel, in any language."""

    def work() -> int:
        import resource

        import grn_cotrain.files
        import grn_cotrain.train.records as records
        from grn_cotrain.commandline import run_app

        writes = 0

        def count() -> None:
            nonlocal writes
            writes += 1
            if writes == full_at:
                resource.setrlimit(resource.RLIMIT_FSIZE, (4, resource.RLIM_INFINITY))

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                count()
                return real(*args, **kwargs)

            return wrapped

        tempfile = grn_cotrain.files.tempfile
        tempfile.mkstemp, tempfile.mkdtemp = counted(tempfile.mkstemp), counted(tempfile.mkdtemp)
        records.RunRecords.append = counted(records.RunRecords.append)  # type: ignore[method-assign]
        there = resume and (Path("out") / "recipe.yaml").is_file()
        code = run_app(RUN, ["train", "recipe.yaml", "--out", "out", *(["--resume"] if there else [])])
        if counter is not None:
            counter.write_text(str(writes))
        return code

    return work


CLASSES: dict[str, tuple[Callable[[Subject, int, int], Iterator[Try]], int, int]] = {
    "flipped bytes": (byte_flips, 500, 30),
    "wrong-typed leaves": (wrong_leaves, 300, 20),
    "hostile files": (hostile, 110, 20),
    "full disk": (full_disk, 26, 4),
}
"""Class -> its tries, how many in full, how many in the short form."""
