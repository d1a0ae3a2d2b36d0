"""Commands of the program in forked children of one process, in which torch is loaded already.

A start takes milliseconds instead of seconds. The parent must never train itself: torch's threads do not survive a fork.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.config import parse_config, write_config
from tests.tiny import save_model, save_rows


def prepare(folder: Path, **sections: Any) -> Path:
    """Make a tiny model, rows and a configuration; return the configuration's file."""
    import studio.engine.export.run
    import studio.engine.training.run
    import studio.runner.controller  # noqa: F401 - loaded once, for all children

    os.environ["FINETUNE_STUDIO_HOME"] = str(folder / "home")
    os.environ["FINETUNE_STUDIO_CACHE"] = str(folder / "cache")
    tables: dict[str, Any] = {
        "model": {"path": str(save_model(folder / "model"))},
        "data": {"sources": [{"path": str(save_rows(folder / "rows.jsonl"))}], "validation_fraction": 0.1},
        "method": {"name": "lora", "rank": 2},
        "precision": {"name": "fp32"},
        "training": {"batch_size": 4, "learning_rate": 1e-2, "device": "cpu"},
        "retention": {"measure": False},
    }
    for section, values in sections.items():
        tables[section] = tables.get(section, {}) | values
    path = folder / "config.toml"
    path.write_text(write_config(parse_config(tables)), encoding="utf-8")
    return path


@dataclass
class Child:
    """A command under way."""

    process: int
    output: Path

    def wait(self) -> int:
        """Return the exit status; minus the signal that ended it."""
        _, status = os.waitpid(self.process, 0)
        return os.waitstatus_to_exitcode(status)

    def kill_after(self, seconds: float) -> int:
        """Kill it at that moment, if it still lives; return as `wait`."""
        time.sleep(seconds)
        os.kill(self.process, signal.SIGKILL)
        return self.wait()

    @property
    def words(self) -> str:
        """What it wrote to stderr."""
        return self.output.with_suffix(".err").read_text(encoding="utf-8", errors="replace")

    @property
    def values(self) -> dict[str, Any]:
        """The JSON object that it wrote to stdout; empty where it wrote none."""
        text = self.output.with_suffix(".out").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text) if text.strip() else {}
        return found


def start(arguments: Sequence[str | Path], output: Path, before: Callable[[], None] = lambda: None) -> Child:
    """Run the command line in a child; `before` is called in it first."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    process = os.fork()
    if process:
        return Child(process, output)
    status = 3
    try:
        for number, ending in ((1, ".out"), (2, ".err")):
            file = os.open(output.with_suffix(ending), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, number)
        before()
        from studio import cli

        status = cli.main([str(argument) for argument in arguments])
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException:  # noqa: BLE001 - a child must never come back into its parent's code
        traceback.print_exc()
    finally:
        os._exit(status)
