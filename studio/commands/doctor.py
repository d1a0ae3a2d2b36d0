"""`doctor`: report the hardware, the versions of the libraries, and which precisions work here."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import platform
from collections.abc import Iterator
from typing import Any

from studio import __version__
from studio.commands.console import Commands, Console, add_command
from studio.commands.window import has_display
from studio.i18n import sentences, tr
from studio.paths import default_runs_root
from studio.runner import actions
from studio.text.numbers import size_text

LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "datasets",
    "safetensors",
    "gguf",
    "numpy",
    "pydantic",
    "PySide6-Essentials",
    "pyqtgraph",
    "bitsandbytes",
    "nvidia-ml-py",
)


def add_to(commands: Commands) -> None:
    add_command(commands, "doctor", tr("hardware, libraries, and what will work here"), _examine)


def _examine(args: argparse.Namespace, console: Console) -> int:
    values = findings()
    console.result(values, "\n".join(_lines(values)))
    return 0


def findings() -> dict[str, Any]:
    """Return what is known about this machine, as values for JSON."""
    starter = actions.starter_folder()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "hardware": dataclasses.asdict(actions.hardware()),
        "unused_cards": [dataclasses.asdict(card) for card in actions.look_for_cards().unused],
        "libraries": {name: _version(name) for name in LIBRARIES},
        "precisions": [dataclasses.asdict(advice) for advice in actions.advise_precisions()],
        "display": has_display(),
        "starter": str(starter) if starter else None,
        "runs": str(default_runs_root()),
    }


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _lines(values: dict[str, Any]) -> Iterator[str]:
    yield f"Finetune Studio {values['version']}, Python {values['python']}, {values['system']}"
    yield tr("Hardware")
    yield from (f"  {line}" for line in _hardware_lines(values["hardware"]))
    yield from (f"  {line}" for card in values["unused_cards"] for line in _unused_lines(card))
    yield tr("Libraries")
    yield from (f"  {name} {version or tr('not installed')}" for name, version in values["libraries"].items())
    yield tr("Precisions on this device")
    for advice in values["precisions"]:
        verdict = tr("works") if advice["works"] else tr("does not work")
        told = tr("{name}: {value}").format(name=advice["name"], value=verdict)
        yield f"  {sentences((tr('{facts}.').format(facts=told), advice['reason']))}"
    yield tr("Display: {there}").format(there=tr("yes") if values["display"] else tr("none, so no window"))
    yield tr("Starter model: {path}").format(path=values["starter"] or tr("not fetched yet (finetune-studio starter)"))
    yield tr("Runs: {path}").format(path=values["runs"])


def _hardware_lines(hardware: dict[str, Any]) -> Iterator[str]:
    formats = [name for name in ("bf16", "fp16") if hardware[f"cpu_{name}"]]
    yield tr("{cpu}, {cores} cores, 16-bit arithmetic: {formats}").format(
        cpu=hardware["cpu"], cores=hardware["cores"], formats=tr(", ").join(formats) or tr("none")
    )
    yield tr("memory {total}, {available} free").format(
        total=size_text(hardware["memory_total"]), available=size_text(hardware["memory_available"])
    )
    for gpu in hardware["gpus"]:
        yield (
            tr("GPU {name}, memory {total}, {available} free. {problem}")
            .format(
                name=gpu["name"],
                total=size_text(gpu["memory_total"]),
                available=size_text(gpu["memory_available"]),
                problem=gpu["problem"],
            )
            .rstrip()
        )
    if not hardware["gpus"]:
        yield tr("no GPU")


def _unused_lines(card: dict[str, Any]) -> Iterator[str]:
    yield tr("{card} cannot be used for training: {reason}.").format(card=card["name"], reason=card["reason"])
    if card["command"]:
        yield tr("This command mends it: {command}").format(command=card["command"])
