"""The overflow laboratory: experiments that show each failure of the numerics on purpose, on a tiny model.

An experiment is a file in `resources/presets/laboratory`: words, the model to make, and the settings of one run or of
several that are compared. Prepared, it is ordinary configuration files for `train` and for the window.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.config import parse_config, write_config
from studio.engine.control import Progress, no_progress
from studio.errors import ConfigError, ModelError
from studio.i18n import language, tr
from studio.resources import resource
from studio.runs import write_atomically

# What all experiments have in common: short rows of real text, whole, so that every update has many gradients.
ROWS = ("samples", "fine-tuning-en.jsonl")
COMMON: dict[str, dict[str, Any]] = {
    "data": {"validation_fraction": 0.0, "max_length": 96, "train_on": "all"},
    "method": {"name": "lora", "rank": 8, "alpha": 16},
    "precision": {},
    "training": {"batch_size": 16, "schedule": "constant", "device": "cpu"},
    "numerics": {},
}


@dataclass(frozen=True)
class Experiment:
    """One experiment, its words in the language of the session.

    Attributes:
        explanation: what happens and why; `look_at`: where it can be seen.
        verdict: class of the verdict that it ends with, empty where all goes well.
        stream: what the numbers between the model's layers are multiplied by.
        runs: settings of each run, by their title.
    """

    name: str
    title: str
    explanation: str
    look_at: str
    verdict: str
    stream: float
    runs: Mapping[str, Mapping[str, Any]]

    @property
    def compares(self) -> bool:
        """Whether it is several runs, to be laid over one another."""
        return len(self.runs) > 1


def experiments() -> tuple[Experiment, ...]:
    """Return all experiments, in the order in which to try them."""
    files = resource("presets", "laboratory").glob("*.toml")
    presets = {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in files}
    return tuple(_read(name, presets[name]) for name in sorted(presets, key=lambda name: presets[name]["order"]))


def experiment(name: str) -> Experiment:
    """Return one experiment. Raises `ConfigError` when there is none of this name."""
    known = {found.name: found for found in experiments()}
    if name not in known:
        words = tr("There is no experiment {name}; there are: {known}.")
        raise ConfigError(words.format(name=name, known=", ".join(known)))
    return known[name]


def prepare(chosen: Experiment, progress: Progress = no_progress) -> list[Path]:
    """Make the model, and a configuration file for each run; return the files, in order.

    Raises:
        ModelError: they cannot be written into the user's data folder.
    """
    from studio.engine.laboratory import laboratory_folder, make_model

    progress("starting", 0, 0)
    try:
        model = make_model(chosen.stream)
        return [
            _write(laboratory_folder() / f"{chosen.name}-{number}.toml", model, settings)
            for number, settings in enumerate(chosen.runs.values(), 1)
        ]
    except OSError as error:
        words = tr("The laboratory cannot be set up in {folder}: {reason}.")
        raise ModelError(words.format(folder=laboratory_folder(), reason=error.strerror)) from error


def _write(path: Path, model: Path, settings: Mapping[str, Any]) -> Path:
    tables = {section: values | settings.get(section, {}) for section, values in COMMON.items()}
    tables["method"] = settings.get("method", COMMON["method"])
    tables["model"] = {"path": str(model)}
    tables["data"]["sources"] = [{"path": str(resource(*ROWS))}]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, write_config(parse_config(tables)))
    return path


def _read(name: str, preset: Mapping[str, Any]) -> Experiment:
    words = preset["words"].get(language(), preset["words"]["en"])
    runs = {run["title"]: {key: value for key, value in run.items() if key != "title"} for run in preset["runs"]}
    return Experiment(
        name=name,
        title=words["title"],
        explanation=words["explanation"],
        look_at=words["look_at"],
        verdict=preset["verdict"],
        stream=float(preset["stream"]),
        runs=runs,
    )
