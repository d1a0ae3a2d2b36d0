"""Downloads, against a hub on this machine that drops, stalls, lies and refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from studio.engine.control import no_progress
from studio.engine.hub import download
from studio.engine.hub.api import HubError
from studio.engine.hub.download import discard, download_model
from studio.engine.hub.folders import ORIGIN, downloaded, draft_of, folder_of, list_downloaded, list_unfinished
from studio.engine.hub.transfer import Patience
from studio.errors import Cancelled
from tests.hub import COMMIT, Fault, LocalHub, local_hub, sha256

MODEL = "own/model"
WEIGHTS = bytes(range(256)) * 4000
HALF = 400_000
SHARD = "model-00001-of-00002.safetensors"
REPOSITORIES = {
    MODEL: {
        "config.json": b"{}",
        "tokenizer.json": b'{"a": 1}',
        "special_tokens_map.json": b"{}",  # the same bytes, and so the same checksum, as config.json
        "model.safetensors": WEIGHTS,
        "consolidated.safetensors": WEIGHTS[::-1],
        "modeling_own.py": b"raise SystemExit",
        "pytorch_model.bin": b"pickle",
        "original/params.json": b"{}",
        "LICENSE": b"free",
    },
    "own/shards": {
        "config.json": b"{}",
        "model.safetensors.index.json": b'{"weight_map": {}}',
        SHARD: WEIGHTS,
        "model-00002-of-00002.safetensors": WEIGHTS[::-1],
    },
    "own/adapter": {"adapter_config.json": b"{}", "adapter_model.safetensors": b"0"},
    "own/pickled": {"config.json": b"{}", "pytorch_model.bin": b"pickle"},
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    monkeypatch.setattr(download, "PATIENCE", Patience(silence=1.0, pauses=(0.01, 0.01)))
    with local_hub(REPOSITORIES, tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def patient(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """The hub for tests that cancel while it is silent: nobody gives up on it before."""
    monkeypatch.setattr(download, "PATIENCE", Patience(silence=60.0, pauses=(0.01,)))
    return hub


def cancel_after(received: int) -> Callable[[str, int, int], None]:
    """Return a progress function that cancels once so many bytes have come."""

    def progress(_: str, done: int, __: int) -> None:
        if done >= received:
            raise Cancelled

    return progress


def ranges_of(hub: LocalHub, name: str) -> list[str]:
    return [asked for file, asked in hub.ranges if file == name]


@pytest.mark.usefixtures("hub")
def test_only_what_a_model_needs_is_there_with_where_it_came_from() -> None:
    folder = download_model(MODEL, no_progress)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    origin = json.loads(files.pop(ORIGIN))
    wanted = ("config.json", "tokenizer.json", "special_tokens_map.json", "model.safetensors", "LICENSE")
    assert files == {name: REPOSITORIES[MODEL][name] for name in wanted}
    assert (origin["id"], origin["revision"]) == (MODEL, COMMIT)
    assert origin["files"]["model.safetensors"] == sha256(WEIGHTS)
    assert (list_downloaded(), list_unfinished(), downloaded(MODEL)) == ([MODEL], {}, folder)


def test_a_download_that_was_killed_goes_on_inside_the_file(patient: LocalHub) -> None:
    patient.faults["model.safetensors"] = [Fault("stall", HALF)]
    with pytest.raises(Cancelled):
        download_model(MODEL, cancel_after(HALF))
    assert not folder_of(MODEL).exists()
    assert list_unfinished()[MODEL] >= HALF
    seen: list[int] = []
    folder = download_model(MODEL, lambda stage, done, _: seen.append(done) if stage == "downloading" else None)
    assert ranges_of(patient, "model.safetensors") == ["", f"bytes={HALF}-"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert all(done >= HALF for done in seen)  # the bar begins where it was


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("drop", HALF)],
        [Fault("drop", 1), Fault("drop", 2), Fault("drop", 3), Fault("drop", 4), Fault("drop", 5)],
        [Fault("stall", HALF)],
        [Fault("status", 429, {"Retry-After": "0"}), Fault("status", 503)],
        [Fault("drop", HALF), Fault("whole")],
        [Fault("drop", HALF), Fault("other_range", 10)],
        [Fault("drop", HALF), Fault("status", 500)],
        [Fault("other_bytes")],
        [Fault("other_length", 7)],
        [Fault("drop", HALF), Fault("other_length", -7)],
    ],
    ids=lambda faults: "+".join(fault.kind for fault in faults),
)
def test_a_fault_that_passes_is_overcome(hub: LocalHub, faults: list[Fault]) -> None:
    hub.faults["model.safetensors"] = list(faults)
    folder = download_model(MODEL, no_progress)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert not (folder / ".parts").exists()


class Lasting(NamedTuple):
    fault: Fault
    words: str


@pytest.mark.parametrize(
    "lasting",
    [
        Lasting(Fault("drop"), "the line broke again and again"),
        Lasting(Fault("stall"), "the line broke again and again"),
        Lasting(Fault("other_bytes"), "what it sends of model.safetensors is not what it announced"),
        Lasting(Fault("other_length", 5), "what it sends of model.safetensors is not what it announced"),
        Lasting(Fault("status", 429), "was asked too often; try again in a few minutes"),
        Lasting(Fault("status", 500), r"has a fault of its own \(status 500\); try again later"),
        Lasting(Fault("status", 403), "does not allow it with this token"),
        Lasting(Fault("status", 404), "does not have it"),
    ],
    ids=lambda lasting: f"{lasting.fault.kind}-{lasting.fault.at}",
)
def test_a_fault_that_stays_is_half_a_sentence_and_no_model_appears(hub: LocalHub, lasting: Lasting) -> None:
    hub.always["model.safetensors"] = lasting.fault
    with pytest.raises(HubError, match=lasting.words):
        download_model(MODEL, no_progress)
    assert downloaded(MODEL) is None
    assert not folder_of(MODEL).exists()


@pytest.mark.usefixtures("hub")
def test_a_damaged_part_is_found_by_its_checksum_and_received_again() -> None:
    store = draft_of(folder_of(MODEL)) / ".parts"
    store.mkdir(parents=True)
    (store / f"{sha256(WEIGHTS)}.part").write_bytes(b"x" * HALF)
    (store / f"{'0' * 64}.part").write_bytes(b"of an older version")
    assert (download_model(MODEL, no_progress) / "model.safetensors").read_bytes() == WEIGHTS


def test_shards_that_are_here_are_not_received_again(patient: LocalHub) -> None:
    patient.faults["model-00002-of-00002.safetensors"] = [Fault("stall", HALF)]
    with pytest.raises(Cancelled):
        download_model("own/shards", cancel_after(len(WEIGHTS) + HALF))
    folder = download_model("own/shards", no_progress)
    assert ranges_of(patient, SHARD) == [""]
    assert (folder / SHARD).read_bytes() == WEIGHTS


def test_a_download_can_be_discarded(patient: LocalHub) -> None:
    patient.faults["model.safetensors"] = [Fault("stall", HALF)]
    with pytest.raises(Cancelled):
        download_model(MODEL, cancel_after(HALF))
    discard(MODEL)
    assert list_unfinished() == {}
    assert not draft_of(folder_of(MODEL)).exists()


@pytest.mark.usefixtures("hub")
def test_a_download_that_is_under_way_is_not_discarded() -> None:
    def progress(*_: object) -> None:
        with pytest.raises(HubError, match="is being downloaded"):
            discard(MODEL)
        raise Cancelled

    with pytest.raises(Cancelled):
        download_model(MODEL, progress)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("own/adapter", "is an adapter, not a whole model"),
        ("own/pickled", "has no safetensors weights"),
        ("own/none", "there is no public model own/none"),
        ("../../outside", "is not the id of a model"),
    ],
)
def test_what_is_no_model_is_refused_before_anything_is_downloaded(model: str, words: str) -> None:
    with pytest.raises(HubError, match=words):
        download_model(model, no_progress)


def test_a_folder_of_the_user_is_left_alone(hub: LocalHub) -> None:
    mine = folder_of(MODEL) / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(HubError, match="was not downloaded here; move it away first"):
        download_model(MODEL, no_progress)
    assert mine.read_text(encoding="utf-8") == "mine"
    assert hub.requests == []


def test_a_disk_without_room_is_told_before_the_download(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 1 << 40, 1 << 20))  # type: ignore[attr-defined]
    with pytest.raises(HubError, match=r"65 MB are needed on the disk, and 1 MB are free"):
        download_model(MODEL, no_progress)
    assert hub.ranges == []


def test_a_checksum_that_the_hub_does_not_tell_is_not_done_without(hub: LocalHub) -> None:
    siblings = [{"rfilename": name, "size": 2, "blobId": "../../x"} for name in ("config.json", "model.safetensors")]
    hub.facts[MODEL] = {"siblings": siblings}
    with pytest.raises(HubError, match=r"does not say size and checksum of config\.json"):
        download_model(MODEL, no_progress)
