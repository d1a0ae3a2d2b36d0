"""Let every write of a run fail once: `python tests/crashes/writes.py [FIRST] [EVERY]`.

For the n-th write of a short run, whatever writes it, and for a full disk (ENOSPC) and a broken one (EIO): the run is
never called running after it, success is never claimed where something is missing, a failure has its sentence and exit
status 1, and once an update was applied there is something to export.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHORT = {"training": {"max_steps": 3}, "checkpoints": {"every_minutes": 0.0001}}


def main(first: int, every: int) -> int:
    """Try writes `first`, `first + every`, …; print what came of each, and return the exit status."""
    sys.path.insert(0, str(ROOT))
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    from tests.crashes.children import prepare

    wrong = tried = finished = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = prepare(folder, **SHORT)
        total = _count(config, folder)
        for number in range(first, total + 1, every):
            for kind in ("ENOSPC", "EIO"):
                status, where, problems = _try(config, folder / f"{kind}-{number}", number, kind)
                tried, finished, wrong = tried + 1, finished + (status == 0), wrong + bool(problems)
                print(
                    f"{'WRONG' if problems else 'right'}  {number:4} {kind:6} exit {status}  {where}  {problems}",
                    flush=True,
                )
        lasting_status, where, problems = _try(config, folder / "lasting", total // 2, "EIO", lasting=True)
        print(
            f"{'WRONG' if problems else 'right'}  from {total // 2} on, EIO, exit {lasting_status}  {where}  {problems}"
        )
    wrong += bool(problems)
    print(f"{total} writes in a run; {tried} failed once: {finished} runs finished all the same, {wrong} wrong")
    return 1 if wrong else 0


def _count(config: Path, folder: Path) -> int:
    """Return how often a run writes when nothing fails."""
    status, counted, problems = _try(config, folder / "none", 0, "EIO")
    if status or problems:
        raise RuntimeError(f"a run in which nothing fails did not finish: {problems}")
    return int(counted)


def _try(config: Path, folder: Path, number: int, kind: str, *, lasting: bool = False) -> tuple[int, str, list[str]]:
    """Train with one failing write; return the exit status, where it failed, and what is wrong about it."""
    from studio.engine import disk
    from tests.crashes.children import start
    from tests.crashes.faults import Faults

    folder.mkdir()
    told = folder / "told"

    def before() -> None:
        disk.RETRY_SECONDS = 0.01
        logging.raiseExceptions = False
        faults = Faults(folder / "runs", number, kind, lasting=lasting)
        faults.install()
        exit_now = os._exit

        def tell(status: int) -> None:
            told.write_text(faults.failed_at.replace(str(folder), "") or str(faults.count), encoding="utf-8")
            exit_now(status)

        os._exit = tell  # type: ignore[assignment]

    child = start(["train", config, "--runs", folder / "runs", "--json"], folder / "child", before)
    status = child.wait()
    return status, told.read_text(encoding="utf-8"), _problems(child, status, folder / "runs", lasting=lasting)


def _problems(child: object, status: int, runs: Path, *, lasting: bool) -> list[str]:
    from studio.engine.training.result import restore_result
    from studio.events import RunFinished, StepCompleted
    from studio.runs import list_runs, read_journal
    from tests.crashes.children import Child

    assert isinstance(child, Child)
    found: list[str] = []
    values, words = child.values, child.words
    if status not in (0, 1):
        return [f"exit status {status}: {words[-300:]}"]
    if "Traceback" in words:
        found.append(f"a traceback: {words[-300:]}")
    folders = list_runs(runs)
    if status == 1 and not str(values.get("error", "")).strip():
        found.append(f"no sentence: {words[-300:]}")
    if not folders:
        return found + ([] if status == 1 and not values.get("updates") else ["no run folder, and no failure"])
    (folder,) = folders
    state = folder.read_state()["status"]
    events = list(read_journal(folder.journal))
    if state in ("created", "running", "paused") or folder.held:
        found.append(f"it is called {state}, held: {folder.held}")
    if status == 0 and not (state == "finished" and isinstance(events[-1], RunFinished)):
        found.append(f"exit status 0, and the folder says {state}")
    updates = max((event.update for event in events if isinstance(event, StepCompleted)), default=0)
    if (updates or values.get("updates")) and not lasting:
        restore_result(folder, lambda *_: None)
        if not any(folder.adapter.glob("*.safetensors")):
            found.append(f"nothing to export after {updates} updates")
    drafts = [path for path in runs.rglob(".*") if not lasting]
    if drafts:
        found.append(f"drafts: {[path.name for path in drafts]}")
    return found


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    sys.exit(main(*(numbers + [1, 1][len(numbers) :])))
