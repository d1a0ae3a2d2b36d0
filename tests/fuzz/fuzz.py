"""Damaged and hostile files by the thousand: each is read, or refused with a `StudioError`. Nothing else may happen.

    python -m tests.fuzz.fuzz [COUNT] [SEED]

prints how many inputs of each kind were tried, how many were refused, and what was found. The same seed makes the same
inputs.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from studio.config import read_config
from studio.engine.export.certificate import read_certificate
from studio.engine.methods.peft_files import read_adapter
from studio.engine.models.config import load_config
from studio.engine.models.files import sha256
from studio.engine.models.headers import read_header
from studio.engine.models.tokenizer_files import read_tokenizer
from studio.engine.training import checkpoint
from studio.errors import StudioError
from studio.runner.record import RunRecord
from studio.runs import RunFolder, read_base

EARLIER = Path(__file__).parents[1] / "earlier"
RUN, MODEL = EARLIER / "run", EARLIER / "model"
SECONDS = 1.0
"""Processor time that reading one input may take."""
GROWTH = 1 << 28
"""Bytes by which the most memory of the process may grow over all inputs, after the first hundred."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**9, 10**40, 1e300, -1e300, 0.5, float("inf"), float("nan"), "", "nan",
    "x" * 5000, "~nosuchuser", "../../../etc/passwd", "/dev/zero", "a\0b", "\ud800", "(a+)+$", "<img src='file:///x'>",
    [], {}, [[]], [None], {"": None}, [1, "a", None], {"__float__": "Infinity"}, ["x"] * 300, "pissa_niter_999999",
)  # fmt: skip


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def change_json(value: Any, draw: random.Random) -> Any:
    """Return a JSON value with one place of it exchanged for something that does not belong there."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.15:
        return _nested(draw.choice((80, 500))) if draw.random() < 0.05 else draw.choice(VALUES)
    if isinstance(value, list):
        place = draw.randrange(len(value))
        changed = [*value]
        changed[place] = change_json(value[place], draw)
        return changed
    key = draw.choice(sorted(value))
    kind = draw.random()
    if kind < 0.1:
        return {name: one for name, one in value.items() if name != key}
    if kind < 0.2:
        return {**value, draw.choice(("extra", "x" * 300, "\0", "auto_map")): draw.choice(VALUES)}
    return {**value, key: change_json(value[key], draw)}


def change_bytes(text: bytes, draw: random.Random) -> bytes:
    """Return bytes with some of them changed, cut off, or put in twice."""
    data = bytearray(text)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(max(1, len(data)))
        match draw.randrange(4):
            case 0:
                data[place : place + 1] = bytes([draw.randrange(256)])
            case 1:
                del data[place:]
            case 2:
                data[place:place] = data[place : place + draw.randint(1, 60)]
            case _:
                data[place:place] = draw.choice((b"[" * 2000, b"{", b'"', b"9" * 5000, b"\xff", b"\0", b"1e999"))
    return bytes(data)


def change_text(text: bytes, draw: random.Random) -> bytes:
    """Change JSON by its structure, mostly, and as bytes otherwise."""
    if draw.random() < 0.25:
        return change_bytes(text, draw)
    value = json.loads(text)
    for _ in range(draw.randint(1, 3)):
        value = change_json(value, draw)
    return json.dumps(value).encode()


def change_lines(text: bytes, draw: random.Random) -> bytes:
    """Change some lines of a journal."""
    lines = text.splitlines()
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(lines))
        try:
            lines[place] = change_text(lines[place], draw)
        except (ValueError, RecursionError):  # it was changed before
            lines[place] = change_bytes(lines[place], draw)
    return b"\n".join(lines)


def change_header(text: bytes, draw: random.Random) -> bytes:
    """Change the header of a safetensors file, its length kept true, or the file as bytes."""
    if draw.random() < 0.25:
        return change_bytes(text, draw)
    length = int.from_bytes(text[:8], "little")
    header = change_text(text[8 : 8 + length], draw)
    return len(header).to_bytes(8, "little") + header + text[8 + length :]


@dataclass(frozen=True)
class Kind:
    """One kind of file: the folder it lies in, its name there, how it is changed, and who reads it."""

    folder: Path
    file: str
    change: Callable[[bytes, random.Random], bytes]
    read: Callable[[Path], object]


def _base() -> torch.nn.Module:
    names = json.loads((RUN / "adapter" / "adapter_config.json").read_text())["target_modules"]
    base = torch.nn.Module()
    for name in names:
        place = base
        for part in name.split("."):
            if not hasattr(place, part):
                place.add_module(part, torch.nn.Module())
            place = getattr(place, part)
    return base


def _read_checkpoint(place: Path) -> object:
    """Read a checkpoint whose manifest says what its files are, as that of a stranger does."""
    names = ("optimizer.safetensors", "state.json", "trained.safetensors")
    prints = {name: {"bytes": (place / name).stat().st_size, "sha256": sha256(place / name)} for name in names}
    (place / "manifest.json").write_text(json.dumps({"files": prints}, indent=2) + "\n", encoding="utf-8")
    return checkpoint.read(place)


_BASE = _base()
KINDS: dict[str, Kind] = {
    "configuration": Kind(RUN, "config.toml", change_bytes, lambda place: read_config(place / "config.toml")),
    "state": Kind(RUN, "state.json", change_text, lambda place: RunFolder(place).read_state()),
    "journal": Kind(RUN, "events.jsonl", change_lines, lambda place: RunRecord.of_folder(RunFolder(place))),
    "certificate": Kind(RUN / "exports" / "merged-fp16", "certificate.json", change_text, read_certificate),
    "adapter": Kind(RUN / "adapter", "adapter_config.json", change_text, lambda place: read_adapter(place, _BASE)),
    "adapter weights": Kind(
        RUN / "adapter", "adapter_model.safetensors", change_header, lambda place: read_adapter(place, _BASE)
    ),
    "safetensors": Kind(
        RUN / "adapter",
        "adapter_model.safetensors",
        change_header,
        lambda place: read_header(place / "adapter_model.safetensors"),
    ),
    "base": Kind(RUN, "base.json", change_text, read_base),
    "manifest": Kind(RUN / "checkpoints" / "step-000023", "manifest.json", change_text, checkpoint.read),
    "checkpoint": Kind(RUN / "checkpoints" / "step-000023", "state.json", change_text, _read_checkpoint),
    "model": Kind(MODEL, "config.json", change_text, load_config),
    "tokenizer": Kind(MODEL, "tokenizer.json", change_text, lambda place: read_tokenizer(place, {})),
    "tokenizer configuration": Kind(
        MODEL, "tokenizer_config.json", change_text, lambda place: read_tokenizer(place, {})
    ),
}


@dataclass
class Report:
    """How many inputs of each kind there were, how many were refused, and every finding, once a place."""

    tried: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)


def fuzz(count: int, seed: int, seconds: float = SECONDS) -> Report:
    """Read `count` inputs, the kinds by turns, in this process."""
    draw, report = random.Random(seed), Report()
    with tempfile.TemporaryDirectory() as scratch:
        places = {name: Path(scratch) / name.replace(" ", "-") for name in KINDS}
        for name, kind in KINDS.items():
            shutil.copytree(kind.folder, places[name], ignore=shutil.ignore_patterns("checkpoints", "exports"))
        sources = {name: (kind.folder / kind.file).read_bytes() for name, kind in KINDS.items()}
        for name, kind in KINDS.items():  # what is in order is read; the libraries are imported by this, too
            kind.read(places[name])
        names, memory = list(KINDS), 0
        for number in range(count):
            name = names[number % len(names)]
            given = KINDS[name].change(sources[name], draw)
            (places[name] / KINDS[name].file).write_bytes(given)
            _read(name, places[name], given, seconds, report)
            if number == 100:
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if memory and (grown := (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) << 10) > GROWTH:
            report.findings["memory"] = f"the process has grown by {grown >> 20} MB"
    return report


def _read(name: str, place: Path, given: bytes, seconds: float, report: Report) -> None:
    begun = time.process_time()
    report.tried[name] += 1
    try:
        KINDS[name].read(place)
    except StudioError as error:
        report.refused[name] += 1
        if "\n" in str(error):
            report.findings.setdefault(f"{name}: several lines", str(error)[:500])
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        report.findings.setdefault(
            f"{name}: {type(error).__name__} at {Path(last.filename).name}:{last.lineno}",
            f"{str(error)[:200]} <- {given[:300]!r}",
        )
    if (taken := time.process_time() - begun) > seconds:
        report.findings.setdefault(f"{name}: slow", f"{taken:.1f} s <- {given[:300]!r}")


def main() -> int:
    """Run as a command."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    report = fuzz(count, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for name in KINDS:
        print(f"{name:<24}{report.tried[name]:>7} tried{report.refused[name]:>7} refused")
    for title, words in report.findings.items():
        print(f"FOUND {title}\n      {words}")
    print(f"{sum(report.tried.values())} inputs, {len(report.findings)} findings")
    return 1 if report.findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
