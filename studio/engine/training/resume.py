"""Where a run goes on from: its newest valid checkpoint, with what differs now from what was then."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import studio
from studio.config import RunConfig, parse_config, read_config
from studio.config.run import change_config, override_config
from studio.engine.device import computing_name, library_versions
from studio.engine.precision import Precision
from studio.engine.training import checkpoint
from studio.engine.training.checkpoint import Snapshot, UnusableCheckpoint
from studio.engine.training.trainer import Trainer
from studio.errors import ConfigError, ConsentNeeded, RunFolderError, TrainingError
from studio.events import RunResumed
from studio.files import name_problem
from studio.i18n import tr, trn
from studio.runs import RunFolder, open_run, read_base, read_journal

if TYPE_CHECKING:
    from studio.engine.data.prepare import PreparedData

log = logging.getLogger(__name__)

# What makes another run of it: other shapes, other states of the optimizer, another order of the rows.
FIXED = ("method", "training.optimizer", "training.batch_size", "training.seed", "training.start_from", "model.kind")


@dataclass(frozen=True)
class Start:
    """Where a run goes on from.

    Attributes:
        config: what it goes on with.
        settings: those that differ from the checkpoint's, by dotted key.
        snapshot: the checkpoint; None where the run came to none, and begins anew.
        skipped: newer checkpoints that cannot be used, with their `name` and `reason`.
        consent: go on though the base or the data are no longer those of the checkpoint.
        ended: the run came to its end and has its result.
    """

    config: RunConfig
    settings: Mapping[str, Any] = field(default_factory=dict)
    snapshot: Snapshot | None = None
    skipped: Sequence[dict[str, str]] = ()
    consent: bool = False
    ended: bool = False

    def hollow(self) -> Start:
        """Return it for the processes that take the tensors from process 0."""
        return dataclasses.replace(self, snapshot=self.snapshot and self.snapshot.hollow())

    @property
    def run(self) -> Mapping[str, Any]:
        """What the checkpoint knows beside tensors; empty where there is none, or it is of an earlier version."""
        return self.snapshot.run if self.snapshot else {}


def find_start(folder: RunFolder, changes: Sequence[str], *, consent: bool) -> Start:
    """Find the newest valid checkpoint of a run, and the configuration to go on with.

    Raises:
        TrainingError: there are checkpoints, and none of them can be used.
        RunFolderError: a link leads out of the run folder.
        ConfigError: a change is no setting, or cannot be made within a run.
    """
    folder.check_links()
    snapshot, skipped = _newest_valid(folder)
    before = _config_of(folder, snapshot)
    now = change_config(before, changes)
    settings = dict(differing(before, now))
    for key in settings:
        if any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED):
            words = tr(
                "{key} cannot change within a run; start a new run, with training.start_from = {run} to begin with "
                "what this one has trained."
            )
            raise ConfigError(words.format(key=key, run=folder.path))
    ended = folder.read_state()["status"] in ("finished", "stopped")
    return Start(now, settings, snapshot, skipped, consent, ended)


def _newest_valid(folder: RunFolder) -> tuple[Snapshot | None, list[dict[str, str]]]:
    places = folder.checkpoints.glob("step-*")
    newest_first = sorted(
        (place for place in places if place.name.removeprefix("step-").isdecimal()),
        key=lambda place: int(place.name.removeprefix("step-")),
        reverse=True,
    )
    skipped = [
        {"name": place.name.strip(".").removesuffix(".tmp"), "reason": "half"} for place in checkpoint.drafts(folder)
    ]
    for place in newest_first:
        try:
            snapshot = checkpoint.read(place)
        except UnusableCheckpoint as error:
            if error.reason == "newer":
                raise
            log.warning("%s", error)
            skipped.append({"name": place.name, "reason": error.reason})
            continue
        return snapshot, [one for one in skipped if one["name"] > place.name or one["reason"] != "half"]
    if newest_first:
        words = tr("No checkpoint of {run} is whole; start a new run, or take what is in its adapter folder.")
        raise TrainingError(name_problem(folder.path) or words.format(run=folder.path))
    return None, skipped


def _config_of(folder: RunFolder, snapshot: Snapshot | None) -> RunConfig:
    """Return the configuration of the run at a checkpoint: config.toml never tells of later changes."""
    if snapshot and "config" in snapshot.run:
        return parse_config(snapshot.run["config"])
    config = read_config(folder.config)
    if snapshot is None:
        return config
    # Checkpoints of earlier versions do not have it; the journal tells of each remedy.
    for event in read_journal(folder.journal):
        if isinstance(event, RunResumed) and event.step <= snapshot.position["step"]:
            changes = {key: value for key, value in event.changes.items() if "." in key}
            config = override_config(config, changes)
    return config


def differing(before: RunConfig, now: RunConfig) -> Iterator[tuple[str, Any]]:
    """Yield the settings that differ, by dotted key, with their new values; None is one that is no longer set."""
    old, new = before.model_dump(mode="json"), now.model_dump(mode="json")
    for section, options in new.items():
        for key in {**old[section], **options}:
            if old[section].get(key) != options.get(key):
                yield f"{section}.{key}", options.get(key)


def environment(device: torch.device, precision: Precision) -> dict[str, str]:
    """Return what decides the bits of a run beside its settings, its base and its data, by dotted key."""
    versions = {"studio": studio.__version__, **library_versions()}
    return {
        **{f"versions.{name}": version for name, version in versions.items()},
        "machine.device": computing_name(device),
        "machine.threads": str(torch.get_num_threads()),
        "machine.precision": precision.name,
    }


def data_print(data: PreparedData) -> str:
    """Return a SHA-256 of which rows are trained on and held out, and of the files that they come from."""
    digest = hashlib.sha256()
    for print_of_file in data.report.fingerprints.values():
        digest.update(print_of_file.encode())
    for store in (data.train, data.validation):
        for column in (store.numbers, store.lengths, store.supervised):
            digest.update(column.tobytes())
    return digest.hexdigest()


def check_same(what: str, before: Any, now: Any, start: Start) -> dict[str, str]:
    """Return the entry of `run_resumed.changes` for a base or data that are no longer those of the checkpoint.

    Args:
        what: "base" or "data".
        before: what is known of it from then; None where nothing is.

    Raises:
        ConsentNeeded: it differs, and nobody asked for that.
    """
    if before is None or before == now:
        return {}
    named = "model.path" if what == "base" else "data."
    if not (start.consent or any(key.startswith(named) for key in start.settings)):
        sentence = {
            "base": tr("The files of the base model are no longer those that this run was trained on until now."),
            "data": tr("The rows of the data are no longer those that this run was trained on until now."),
        }[what]
        advice = tr("Put the old ones back, or go on with these on purpose.")
        raise ConsentNeeded(f"{sentence} {advice}")
    return {what: "changed"}


def check_length(planned: int, update: int, *, ended: bool) -> None:
    """Refuse to go on with a run that has nothing left to do. Raises `ConfigError`.

    One that was cut off between its last update and its end still has its end to do.
    """
    if planned < update or (ended and planned == update):
        raise ConfigError(
            trn(
                "This run has applied its {count} update; to train on, set training.epochs or training.max_steps to "
                "more.",
                "This run has applied all of its {count} updates; to train on, set training.epochs or "
                "training.max_steps to more.",
                update,
            ).format(count=update)
        )


def check_bound(below: bool) -> None:
    """Refuse to go on with a run that retention's bound has ended. Raises `ConfigError`."""
    if below:
        words = tr(
            "Retention fell below its bound, which ended this run; to train on, set retention.stop_below to less."
        )
        raise ConfigError(words)


def differences(before: Mapping[str, str] | None, now: Mapping[str, str]) -> dict[str, str]:
    """Return what differs in the environment, by key, as it is now; nothing is known of earlier versions."""
    if before is None:
        return {}
    return {key: value for key, value in now.items() if before.get(key) != value}


def base_of(folder: RunFolder) -> Any:
    """Return what a run folder knows of the files of its base; None where it knows nothing."""
    try:
        return read_base(folder.path)
    except RunFolderError as error:
        log.warning("%s", error)
        return None


def begin_with(path: Path, trainer: Trainer, config: RunConfig, base: Any) -> None:
    """Give what is trained the weights that another run has trained: its result, without the optimizer's states.

    Raises:
        TrainingError: that run has no checkpoint of its end, or another base, method or shapes.
    """
    from safetensors.torch import load_file

    other = open_run(path)
    other.check_links()
    theirs = read_config(other.config)
    known = base_of(other)
    snapshot, _ = _newest_valid(other)
    reason = ""
    if theirs.method.name != config.method.name:
        words = tr("it was trained with {theirs}, and this run trains with {ours}")
        reason = words.format(theirs=theirs.method.name, ours=config.method.name)
    elif known is not None and known != base:
        reason = tr("it was trained on another base model")
    elif snapshot is None or snapshot.position["update"] < other.read_state().get("updates", 0):
        reason = tr("it has no checkpoint of its end; continue it first, until it stops")
    else:
        # Where retention has a bound, the result is what was best above it.
        trained = load_file(snapshot.best) if snapshot.best else snapshot.trained
        try:
            checkpoint.put_weights(trained, trainer)
        except TrainingError as error:
            reason = str(error)[:1].lower() + str(error)[1:].rstrip(".")
    if reason:
        words = tr("Training cannot start from {run} (training.start_from): {reason}.")
        raise TrainingError(words.format(run=other.name, reason=reason))
