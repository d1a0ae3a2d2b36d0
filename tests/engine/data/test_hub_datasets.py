"""Datasets of the hub, downloaded by the real library from a small hub of our own on this machine."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from studio.config import DataConfig, DataSource
from studio.engine.control import no_progress
from studio.engine.data.hub import local_sources
from studio.engine.data.inspect import inspect_data
from studio.engine.data.prepare import prepare_data
from studio.errors import Cancelled, DataError
from tests.hub import Fault, local_hub

SPLITS = b"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.jsonl
  - split: test
    path: data/test.jsonl.gz
---
"""
CONFIGURATIONS = b"""---
configs:
- config_name: short
  data_files: short.jsonl
- config_name: long
  data_files: long.jsonl
---
"""
REPOSITORIES = {
    # What the library's own type guessing would turn into 8123 and None.
    "own/rows": {
        "README.md": SPLITS,
        "data/train-0.jsonl": b'{"text": "08123"}\n{"text": "1"}\n',
        "data/train-1.jsonl": b'{"text": "NA"}\n',
        "data/test.jsonl.gz": gzip.compress(b'{"text": "007"}\n'),
    },
    "own/program": {"program.py": b"raise SystemExit", "rows.jsonl": b'{"text": "a"}\n'},
    "own/several": {"README.md": CONFIGURATIONS, "short.jsonl": b'{"text": "a"}\n', "long.jsonl": b'{"text": "b"}\n'},
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The paths that are asked of the hub."""
    with local_hub(REPOSITORIES, tmp_path, monkeypatch) as found:
        yield found.requests


def texts(path: str) -> list[str]:
    return ["".join(text for text, _ in row.segments) for row in inspect_data(DataSource(path=path)).rendered]


def test_rows_of_the_hub_are_trained_on_as_they_stand_there(
    hub: list[str], tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DataConfig(sources=(DataSource(path="own/rows"),), validation_fraction=0.0)
    data = prepare_data(config, tokenizer, "base", 0)
    assert [tokenizer.decode(row.input_ids) for row in data.train] == [
        f"{text}<|im_end|>" for text in ("08123", "1", "NA")
    ]
    assert [(Path(row.source).name, row.number) for row in data.train] == [
        ("train-0.jsonl", 1),
        ("train-0.jsonl", 2),
        ("train-1.jsonl", 1),
    ]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.clear()
    again = prepare_data(config, tokenizer, "base", 0)
    assert again.report == data.report
    assert hub == []


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("path", "expected"), [("own/rows:test", ["007"]), ("own/several:long:train", ["b"])], ids=["split", "both"]
)
def test_a_split_and_a_configuration_are_chosen_behind_colons(path: str, expected: list[str]) -> None:
    assert texts(path) == expected


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("own/unknown", "There is no file own/unknown, and .* there is no public dataset own/unknown"),
        ("own/rows:valid", "own/rows has these splits: train, test; write own/rows:SPLIT"),
        ("own/program", "own/program holds no data files that can be read"),
        ("own/several", r"several configurations \(short, long\); write own/several:CONFIGURATION:SPLIT"),
    ],
)
def test_what_the_hub_does_not_have_is_said_in_one_sentence(path: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        inspect_data(DataSource(path=path))
    assert str(caught.value).endswith(".")


def test_without_the_hub_it_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"http://127.0.0.1:9 cannot be reached\.$"):
        inspect_data(DataSource(path="own/rows"))


@pytest.mark.usefixtures("hub")
def test_a_cancelled_download_ends() -> None:
    def cancel(*_: object) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        local_sources(DataSource(path="own/rows"), cancel)


def test_a_download_that_broke_off_goes_on_inside_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = b"".join(b'{"text": "%06d"}\n' % number for number in range(20_000))
    with local_hub({"own/long": {"long.jsonl": rows}}, tmp_path, monkeypatch) as hub:
        hub.faults["long.jsonl"] = [Fault("drop", 100_000), Fault("status", 403)]
        with pytest.raises(DataError, match="does not allow it"):
            local_sources(DataSource(path="own/long"), no_progress)
        (source,) = local_sources(DataSource(path="own/long"), no_progress)
        assert Path(source.path).read_bytes() == rows
        assert hub.ranges[-1] == ("long.jsonl", "bytes=100000-")


@pytest.mark.parametrize("path", ["data/train.jsonl", "./data/train", "a/b/c", "train", "own/rows:a:b:c", "own/rows:"])
def test_what_is_no_id_is_taken_for_a_file(path: str, jsonl: Callable[..., Any]) -> None:
    assert [source.path for source in local_sources(DataSource(path=path), no_progress)] == [path]


def test_a_file_comes_before_a_dataset_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "rows").write_text("hello\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert texts("own/rows") == ["hello"]
