"""Pipes, devices and folders where files belong: whoever reads a run or a model neither waits nor fills memory."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from studio.config import read_config
from studio.engine.control import no_progress
from studio.engine.export import carry
from studio.engine.export.certificate import fingerprint_files, read_certificate
from studio.engine.export.gguf.convert import find_file
from studio.engine.export.gguf.vocabulary import read_vocabulary
from studio.engine.export.source import open_source
from studio.engine.export.verify import verify_export
from studio.engine.methods.peft_files import read_adapter
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_tokenizer
from studio.engine.training import checkpoint
from studio.engine.training.result import restore_result
from studio.errors import ExportError, StudioError
from studio.runner.continuing import find_left_runs
from studio.runner.queue import RunQueue
from studio.runner.record import RunRecord
from studio.runs import RunFolder, list_runs, read_base, read_lock
from tests.fuzz.fuzz import _BASE
from tests.limits import ends

EARLIER = Path(__file__).parents[2] / "earlier"
STEP = Path("checkpoints/step-000023")
EXPORT = Path("exports/merged-fp16")
RUN_FILES = [
    "config.toml",
    "state.json",
    "events.jsonl",
    "run.log",
    "process.log",
    "progress.json",
    "commands.jsonl",
    "lock",
    "base.json",
    "adapter",
    "adapter/adapter.json",
    "adapter/adapter_config.json",
    "adapter/adapter_model.safetensors",
    "checkpoints",
    *(f"{STEP}/{name}" for name in ("manifest.json", "state.json", "trained.safetensors", "optimizer.safetensors")),
    "exports",
    f"{EXPORT}/certificate.json",
    f"{EXPORT}/model.safetensors",
]
KINDS = ["pipe", "device", "folder"]
MODEL_FILES = [
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/default.jinja",
    "generation_config.json",
    "adapter_config.json",
]


def put(kind: str, place: Path) -> None:
    """Put something at a place where a file belongs."""
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(exist_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(place)
        case "device":
            place.symlink_to("/dev/zero")
        case "folder":
            place.mkdir()


def each(*actions: Callable[[], object]) -> None:
    """Do all of it; each may be refused."""
    for action in actions:
        with suppress(StudioError):
            action()


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_reads_a_run_folder_comes_to_an_end(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "runs"
    read_adapter(EARLIER / "run" / "adapter", _BASE)  # the child need not import the libraries anew
    for number, name in enumerate(RUN_FILES):
        shutil.copytree(EARLIER / "run", root / f"run-{number}")
        put(kind, root / f"run-{number}" / name)

    def read_all() -> None:
        assert len(list_runs(root)) == len(RUN_FILES) - 1  # without state.json it is no run
        find_left_runs(root)
        for place in sorted(root.iterdir()):
            run = RunFolder(place)
            each(
                run.read_state,
                lambda run=run: RunRecord.of_folder(run),
                lambda run=run: read_config(run.config),
                lambda place=place: read_lock(place),
                lambda place=place: read_base(place),
                lambda place=place: checkpoint.read(place / STEP),
                lambda place=place: checkpoint.read_update(place / STEP),
                lambda run=run: restore_result(run, lambda *_: None),
                lambda run=run: read_adapter(run.adapter, _BASE),
                lambda place=place: read_certificate(place / EXPORT),
                lambda place=place: verify_export(place / EXPORT),
            )

    ends(read_all, 60)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_reads_a_model_folder_comes_to_an_end(tmp_path: Path, kind: str) -> None:
    for number, name in enumerate(MODEL_FILES):
        shutil.copytree(EARLIER / "model", tmp_path / f"model-{number}")
        put(kind, tmp_path / f"model-{number}" / name)

    info = inspect_model(EARLIER / "model")

    def read_all() -> None:
        for place in sorted(tmp_path.iterdir()):
            each(
                lambda place=place: inspect_model(place),
                lambda place=place: load_tokenizer(place),
                lambda place=place: read_vocabulary(place, 64),
                lambda place=place: carry.base_generation_config(SimpleNamespace(base=place, info=info)),
            )

    ends(read_all, 60)


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["more.safetensors", ".hidden.safetensors", "more.gguf"])
def test_what_is_no_file_is_neither_exported_nor_certified(tmp_path: Path, kind: str, name: str) -> None:
    shutil.copytree(EARLIER / "run", tmp_path / "run")
    export = tmp_path / "run" / EXPORT
    dataclasses.replace(read_certificate(export), files=fingerprint_files(export)).write(export)
    put(kind, export / name)
    put(kind, tmp_path / "run" / "adapter" / name)

    def read() -> None:
        first, *_ = verify_export(export).checks
        assert first.name == "files_unchanged"
        assert first.passed is name.startswith(".")  # hidden files are left out, also when weights are read
        with pytest.raises(ExportError, match="no single GGUF"):
            find_file(export)
        open_source(RunFolder(tmp_path / "run"), no_progress)

    # The device is a link, and a link out of a run is refused before what it leads to is looked at.
    reason = f"is not a regular file ({name})" if kind == "pipe" else f"{name} is a link that leads out of the run"
    assert reason in ends(read, 60)


@pytest.mark.parametrize("kind", KINDS)
def test_a_queue_that_is_no_file_holds_no_run(tmp_path: Path, kind: str) -> None:
    put(kind, tmp_path / "queue.json")

    def read() -> None:
        assert RunQueue(tmp_path / "queue.json").runs == ()

    ends(read)
