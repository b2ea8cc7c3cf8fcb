"""The classes of faults: flipped bytes, wrong types, hostile files, full disks, kills. Each yields named tries."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.faults.child import ONE_LINE, RIGHT, WARNED, Outcome, run_forked
from tests.faults.hostile import PLACED, hostile_files
from tests.faults.subject import RUN, Case, Subject, leaves, probe_of

__all__ = ["CLASSES", "LOGS"]

Try = tuple[str, Case]

LOGS = {
    "open/metrics.jsonl": "the log of an unfinished run: weights and tables come from elsewhere",
    "run/metrics.jsonl": "the log of a finished run: the report shows its curves with the warning",
}
"""Files of which a damaged one gives a warning and other content, and why that is enough."""

_WRONG: tuple[Any, ...] = (
    *(None, True, -1, 0, 3.5, 10**8, 10**18, -(10**18), 1e300, "", "x", "1", "../..", "\u0000", "a\nb", "<b>"),
    *([], [1], [[]], ["x"], {}, {"x": 1}, {"name": None}),
)


def byte_flips(subject: Subject, count: int, seed: int) -> Iterator[Try]:
    """One random bit of one random byte; every file gets its share."""
    draw = random.Random(seed)
    files = _spread(subject.files(), count)
    for number in range(count):
        name = files[number % len(files)]
        size = (subject.folder / name).stat().st_size
        place, bit = draw.randrange(max(1, size)), draw.randrange(8)

        def plant(case: Path, name: str = name, place: int = place, bit: int = bit) -> None:
            raw = bytearray((case / name).read_bytes())
            if raw:
                raw[place] ^= 1 << bit
            (case / name).write_bytes(bytes(raw))

        yield f"{name}, byte {place}, bit {bit}", _told(name, subject.try_fault(plant, probe_of(name)))


def _spread(files: list[str], count: int) -> list[str]:
    """Every n-th file where there are more files than tries, so that each part gets some."""
    return files[:: -(-len(files) // count)]


def _told(name: str, case: Case) -> Case:
    """A damaged log may be shown as far as it can be read, if a warning names it."""
    if case.kind != "other content" or name not in LOGS:
        return case
    told = any(line.startswith("WARNING:") and Path(name).name in line for line in case.outcome.err.splitlines())
    return Case(WARNED, case.line, case.outcome) if told else case


def wrong_leaves(subject: Subject, count: int, seed: int) -> Iterator[Try]:
    """One leaf of one JSON or YAML file holds a value of another type or size."""
    draw = random.Random(seed)
    files = _spread([name for name in subject.files() if name.endswith((".json", ".yaml"))], count)
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
            yield name, subject.try_fault(lambda case, m=make, a=arguments: m(case / a), PLACED[arguments])
            continue
        case = subject.work / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(subject.folder, case)
        make(case / arguments.file)
        outcome = run_forked(arguments.work(), case)
        yield name, Case(outcome.kind, outcome.line, outcome)


def full_disk(subject: Subject, count: int, seed: int) -> Iterator[Try]:
    """From the n-th write on no file can grow; then there is room again and the run goes on to the same weights."""
    for what, case, outcome, weights in _stopped_writes(subject, count, _fill):
        yield what, _judge_disk(case, outcome, weights)


def killed_writes(subject: Subject, count: int, seed: int) -> Iterator[Try]:
    """The process is killed in its n-th write, once the temporary file is there; then the run goes on."""
    for what, case, outcome, weights in _stopped_writes(subject, count, _kill):
        yield (
            what,
            _judge_resume(case, outcome, weights) if outcome.kind == "crash" else _unclear("not killed", outcome),
        )


def _fill() -> None:
    """A limit of the kernel, which holds in any language."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (4, resource.RLIM_INFINITY))


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stopped_writes(
    subject: Subject, count: int, stop: Callable[[], None]
) -> Iterator[tuple[str, Path, Outcome, bytes]]:
    """Trainings that ``stop`` meets in one of their writes: what, the folder, how it ended, and the right weights."""
    whole = subject.work / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir(parents=True)
    shutil.copytree(subject.folder / "prep", whole / "prep")
    shutil.copy(subject.folder / "recipe.yaml", whole / "recipe.yaml")
    counter = whole / "writes"
    outcome = run_forked(_training(counter=counter), whole, limit=120)
    assert outcome.code == 0, outcome.err
    total = int(counter.read_text())
    weights = (whole / "out/model/model.safetensors").read_bytes()
    step = max(1, total // count)
    for number in range(1, total + 1, step):
        case = subject.work / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(whole, case, ignore=shutil.ignore_patterns("out", "writes"))
        outcome = run_forked(_training(number, stop), case, limit=60)
        yield f"write {number} of {total}", case, outcome, weights


def _judge_disk(case: Path, outcome: Outcome, weights: bytes) -> Case:
    if outcome.kind != ONE_LINE:
        return _unclear("full", outcome) if outcome.kind == RIGHT else Case(outcome.kind, outcome.line, outcome)
    if "disk is full" not in outcome.line:
        return _unclear("does not name the disk", outcome)
    left = _leftovers(case)
    return _unclear(f"half-written: {left}", outcome) if left else _judge_resume(case, outcome, weights)


def _judge_resume(case: Path, outcome: Outcome, weights: bytes) -> Case:
    again = run_forked(_training(), case, limit=60)
    if again.kind != RIGHT:
        return _unclear("resume", again) if again.kind == ONE_LINE else Case(again.kind, again.line, again)
    left = _leftovers(case)
    if left:
        return _unclear(f"left after the resume: {left}", again)
    same = (case / "out/model/model.safetensors").read_bytes() == weights
    good = ONE_LINE if outcome.kind == ONE_LINE else RIGHT
    return Case(good if same else "other content", outcome.line, outcome)


def _leftovers(case: Path) -> str:
    return ", ".join(path.name for path in case.rglob("*") if ".part" in path.name)


def _unclear(why: str, outcome: Outcome) -> Case:
    return Case("unclear", f"{why}: {outcome.line}", outcome)


def _training(
    stop_at: int | None = None, stop: Callable[[], None] | None = None, *, counter: Path | None = None
) -> Callable[[], int]:
    """Train in ``out``, or go on there; ``stop`` is called in the ``stop_at``-th write."""

    def work() -> int:
        import grn_cotrain.files
        import grn_cotrain.train.records as records
        from grn_cotrain.commandline import run_app

        writes = 0

        def count() -> None:
            nonlocal writes
            writes += 1
            if writes == stop_at and stop is not None:
                stop()

        def counted(real: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                if not after:
                    count()
                made = real(*args, **kwargs)
                if after:
                    count()
                return made

            return wrapped

        tempfile = grn_cotrain.files.tempfile
        for name in ("mkstemp", "mkdtemp"):
            setattr(tempfile, name, counted(getattr(tempfile, name), after=True))
        records.RunRecords.append = counted(records.RunRecords.append, after=False)  # type: ignore[method-assign]
        code = run_app(RUN, ["train", "recipe.yaml", "--out", "out", "--resume"])
        if counter is not None:
            counter.write_text(str(writes))
        return code

    return work


CLASSES: dict[str, tuple[Callable[[Subject, int, int], Iterator[Try]], int, int]] = {
    "flipped bytes": (byte_flips, 500, 30),
    "wrong-typed leaves": (wrong_leaves, 300, 20),
    "hostile files": (hostile, 110, 20),
    "full disk": (full_disk, 100, 4),
    "killed writes": (killed_writes, 100, 4),
}
"""Class -> its tries, how many in full, how many in the short form."""
