"""`doctor`: report the hardware, the versions of the libraries, and which precisions work here."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio import __version__
from studio.commands.console import Commands, Console, add_command
from studio.commands.window import has_display
from studio.i18n import sentences, tr, untranslated
from studio.paths import default_runs_root
from studio.runner import actions
from studio.runs import list_runs, open_run
from studio.text.numbers import size_text

if TYPE_CHECKING:
    from studio.runner.self_test import SelfTest

PICTURE = "self-test.png"
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
    parser = add_command(commands, "doctor", tr("hardware, libraries, and what will work here"), _examine)
    parser.add_argument(
        "--train",
        nargs="?",
        type=Path,
        const=Path(PICTURE),
        metavar="PICTURE.png",
        help=tr("train the starter model for 20 seconds, and draw its losses into a picture (default: {file})").format(
            file=PICTURE
        ),
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE.zip",
        help=tr(
            "write a report about a problem, with the log and the settings of the last run, without data or tokens"
        ),
    )
    parser.add_argument("--run", type=Path, metavar="RUN_DIR", help=tr("the run of the report (default: the newest)"))


def _examine(args: argparse.Namespace, console: Console) -> int:
    if args.train is not None:
        return _train(args.train.absolute(), console)
    values = findings()
    if args.bundle is not None:
        return _bundle(args.bundle.absolute(), args.run, values, console)
    console.result(values, "\n".join(_lines(values)))
    return 0


def _bundle(path: Path, run: Path | None, values: dict[str, Any], console: Console) -> int:
    """Write the report in English: whoever reads it need not know the language of the session."""
    from studio.runner.bug_report import CONTENTS, write_bundle

    about = open_run(run) if run is not None else next(iter(list_runs(default_runs_root())), None)
    with untranslated():
        doctor = "\n".join(_lines(values))
    names = write_bundle(path, doctor, about)
    told = (f"  {name}: {tr(CONTENTS[name])}" for name in names)
    console.result({"bundle": str(path), "files": names}, "\n".join((str(path), *told)))
    return 0


def _train(path: Path, console: Console) -> int:
    """Try a training, and draw what it did; a system without Qt's libraries goes without the picture."""
    from studio.runner.self_test import self_test

    found = self_test(console.progress)
    picture = _draw(found, path, console)
    lines = [found.sentence]
    if picture:
        lines.append(tr("Its losses are drawn in {path}.").format(path=path))
    values = {"passed": found.passed, "steps": found.record.state.step, "first": found.first, "last": found.last}
    console.result({**values, "sentence": found.sentence, "picture": str(path) if picture else None}, "\n".join(lines))
    return 0 if found.passed else 1


def _draw(found: SelfTest, path: Path, console: Console) -> bool:
    try:
        from studio.ui.self_test_picture import save_self_test
    except ImportError as error:
        if (error.name or "").startswith("studio"):
            raise
        console.note(tr("The picture cannot be drawn: {reason}.").format(reason=error))
        return False
    save_self_test(found, path)
    return True


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
