"""Kill a run with SIGKILL again and again: `python tests/crashes/kills.py [KILLS] [SEED]`.

A run is started, killed at a random moment, continued, killed again, and so on until it has finished; then the next
run begins, until there were as many kills as asked for. Half of them fall on a write of a checkpoint or of the result,
before it or after it; the others on any moment. Each time the program must tell the truth about the run and go on from
its newest whole checkpoint. The losses of all parts are, bit for bit, those of a run that nobody killed, and nothing
is left over in the end.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.runs import RunFolder
    from tests.crashes.children import Child

ROOT = Path(__file__).resolve().parents[2]
STEPS = 12
# Checkpoints as often as can be, so that many kills fall on one.
OFTEN = {"training": {"max_steps": STEPS}, "checkpoints": {"every_minutes": 0.00001}}
WRITES = 60  # a kill in a save falls on one of so many writes
Losses = dict[int, str]


def main(kills: int, seed: int) -> int:
    """Kill so often; print each kill and the figures, and return the exit status."""
    sys.path.insert(0, str(ROOT))
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    from tests.crashes.children import prepare, start

    chance, problems, done, in_save, finished, restarted = random.Random(seed), 0, 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = prepare(folder, **OFTEN)
        begun = time.monotonic()
        if start(["train", config, "--runs", folder / "unbroken", "--json"], folder / "child", often).wait():
            raise RuntimeError("the run that nobody kills did not finish")
        length = time.monotonic() - begun
        unbroken = losses(newest(folder / "unbroken"))
        while done < kills:
            runs = folder / f"runs-{finished}"
            while True:
                run = newest(runs)
                command = ["resume", run.path] if run else ["train", config, "--runs", runs]
                save = bool(chance.getrandbits(1)) and done < kills
                child = begin(command, folder, chance.randint(1, WRITES) if save else 0)
                status = child.wait() if save or done >= kills else child.kill_after(chance.uniform(0.0, length))
                done, in_save = done + (status == -9), in_save + (save and status == -9)
                found = look(newest(runs), status, child, unbroken)
                restarted += run is not None
                problems += bool(found)
                how = ("in a save" if save else "anywhere") if status == -9 else "not"
                print(f"{'WRONG' if found else 'right'}  {done:3} killed {how}, exit {status}  {found}", flush=True)
                if status != -9:
                    break
            finished += 1
            left = litter(runs)
            problems += bool(left)
            if left:
                print(f"WRONG  left over: {left}")
    print(
        f"{done} kills, {in_save} of them in a save; {restarted} restarts, {finished} runs finished with the losses of "
        f"the unbroken one; {problems} wrong"
    )
    return 1 if problems else 0


def often() -> None:
    """Save checkpoints at every update, whatever that costs."""
    from studio.engine.training import checkpoint

    checkpoint.SHARE_OF_CHECKPOINTS = 1e6
    checkpoint.FIRST_CHECKPOINT = 1


def begin(command: list[object], folder: Path, write: int) -> Child:
    """Start a command that kills itself at that write of a checkpoint or of the result; 0: at none."""
    from studio.engine.training import checkpoint, result
    from tests.crashes.children import start
    from tests.crashes.faults import KILL, Faults

    saving = threading.local()

    def counted(save: object) -> object:
        def wrapped(*args: object, **options: object) -> object:
            saving.now = True
            try:
                return save(*args, **options)  # type: ignore[operator]
            finally:
                saving.now = False

        return wrapped

    def before() -> None:
        often()
        if write:
            Faults(folder, write, KILL, within=lambda: getattr(saving, "now", False)).install()
            checkpoint.write = counted(checkpoint.write)  # type: ignore[assignment]
            result.METHODS.get("lora").__class__.save = counted(type(result.METHODS.get("lora")).save)  # type: ignore[method-assign]

    return start([*command, "--json"], folder / "child", before)  # type: ignore[list-item]


def newest(runs: Path) -> RunFolder | None:
    """Return the run below a folder, if there is one."""
    from studio.runs import list_runs

    return next(iter(list_runs(runs)), None)


def losses(run: RunFolder | None) -> Losses:
    """Return the losses by step and of each evaluation as they stand in the journal. Raises where two of one differ."""
    from studio.events import EvaluationCompleted, StepCompleted
    from studio.runs import read_journal

    found: Losses = {}
    for event in read_journal(run.journal) if run else ():
        if isinstance(event, StepCompleted | EvaluationCompleted):
            key = event.step if isinstance(event, StepCompleted) else -event.step - 1
            if found.setdefault(key, repr(event.loss)) != repr(event.loss):
                raise AssertionError(f"step {event.step} has two losses: {found[key]}, {event.loss!r}")
    return found


def look(run: RunFolder | None, status: int, child: Child, unbroken: Losses) -> list[str]:
    """Return what is wrong after a session that was killed, or has ended."""
    from studio.events import CheckpointSaved, RunResumed
    from studio.runs import read_journal

    if run is None:
        return [] if status == -9 else [f"no run folder: {child.words[-300:]}"]
    found: list[str] = []
    state = run.read_state()["status"]
    if status == -9 and state not in ("interrupted", "finished"):
        found.append(f"a killed run is called {state}")
    if status == -9 and run.held:
        found.append("a killed run is held")
    if status != -9 and (status, state) != (0, "finished"):
        found.append(f"exit status {status}, {state}: {child.words[-300:]}")
    saved = 0
    for event in read_journal(run.journal):
        if isinstance(event, CheckpointSaved):
            saved = event.update
        elif isinstance(event, RunResumed) and event.restarted:
            if event.update < saved or any(one["reason"] != "half" for one in event.skipped):
                found.append(f"it went on from update {event.update}, and {saved} was saved; skipped {event.skipped}")
            saved = event.update
    ours = losses(run)
    if wrong := {step: loss for step, loss in ours.items() if unbroken.get(step) != loss}:
        found.append(f"losses differ: {wrong}")
    if state == "finished" and ours != unbroken:
        found.append(f"steps are missing: {sorted(unbroken.keys() - ours.keys())}")
    return found


def litter(runs: Path) -> list[str]:
    """Return what a finished run should not have left."""
    (run,) = [path for path in runs.iterdir() if not path.name.startswith(".")]
    known = {"config.toml", "state.json", "events.jsonl", "run.log", "base.json", "checkpoints", "adapter", "exports"}
    hidden = [str(path.relative_to(runs)) for path in runs.rglob(".*")]
    return hidden + [path.name for path in run.iterdir() if path.name not in known]


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    sys.exit(main(*(numbers + [100, 0][len(numbers) :])))
