from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from studio.engine.device import hardware, library_versions, memory_of, peak_memory, resolve_device
from studio.errors import TrainingError

WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def test_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")


def test_automatic_takes_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(TrainingError, match="there is no cuda:2 on this machine"):
        resolve_device("cuda:2")


@WITHOUT_GPU
def test_automatic_takes_the_processor_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")


@WITHOUT_GPU
@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_a_gpu_that_is_not_there_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(TrainingError) as caught:
        resolve_device(name)
    assert str(caught.value) == f"training.device: there is no {name} on this machine; take auto or cpu."


def test_hardware_is_plain_data() -> None:
    found = hardware()
    assert found.cpu
    assert found.cores >= 1
    assert 0 < found.memory_available <= found.memory_total
    assert json.loads(json.dumps(dataclasses.asdict(found)))["cores"] == found.cores


def test_peak_memory_of_a_processor_only_grows() -> None:
    before = peak_memory(torch.device("cpu"))
    held = torch.ones(before // 4 + 10_000_000)
    assert peak_memory(torch.device("cpu")) > max(before, held.nbytes)


def test_free_memory_is_in_bytes() -> None:
    free, total = memory_of("cpu")
    assert 1_000_000 < free <= total


def test_versions_name_what_decides_a_result() -> None:
    assert {"python", "torch", "transformers", "peft", "bitsandbytes"} <= library_versions().keys()
