"""Which precision Automatic takes on which hardware for which model, and what is refused before anything loads."""

from __future__ import annotations

import pytest
import torch

from studio.config import PrecisionConfig
from studio.engine.kernels import products
from studio.engine.precision import PRECISIONS
from studio.engine.precision.choose import choose_precision, choose_storage, reason_text, remark, storage_reason
from studio.errors import ConfigError

CPU, CUDA, MPS = (torch.device(kind) for kind in ("cpu", "cuda", "mps"))


@pytest.fixture
def _capability(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: request.param)


@pytest.mark.usefixtures("_capability")
@pytest.mark.parametrize(
    ("_capability", "stored", "name", "said"),
    [
        ((8, 0), "bf16", "bf16-mixed", "has bf16"),
        ((9, 0), "fp16", "bf16-mixed", "has bf16"),
        ((7, 5), "fp32", "fp16-mixed", "no bf16"),
        ((7, 5), "fp16", "fp16-mixed", "no bf16"),
        ((7, 5), "bf16", "fp32", "65504"),
    ],
    indirect=["_capability"],
)
def test_on_nvidia_the_choice_follows_the_gpu_and_the_checkpoint(stored: str, name: str, said: str) -> None:
    precision, reason = choose_precision(PrecisionConfig(), CUDA, stored)
    assert precision.name == name
    assert said in reason_text([reason], name)


@pytest.mark.parametrize(("has", "name"), [(True, "bf16-mixed"), (False, "fp32")])
def test_on_a_processor_the_choice_follows_its_instructions(
    monkeypatch: pytest.MonkeyPatch, has: bool, name: str
) -> None:
    monkeypatch.setattr(products, "cpu_has_bf16", lambda: has)
    assert choose_precision(PrecisionConfig(), CPU, "bf16")[0].name == name


@pytest.mark.parametrize(("limit", "name"), [("", "bf16-mixed"), ("DEFAULT", "bf16-mixed"), ("avx2", "fp32")])
def test_a_processor_that_must_keep_to_older_instructions_counts_as_an_older_one(
    monkeypatch: pytest.MonkeyPatch, limit: str, name: str
) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    monkeypatch.setattr(products, "_built_with", lambda *_: True)
    assert choose_precision(PrecisionConfig(), CPU, "bf16")[0].name == name
    assert products.cpu_has_fp16() == (name == "bf16-mixed")


def test_on_apple_gpus_the_choice_is_fp32() -> None:
    assert choose_precision(PrecisionConfig(), MPS, "bf16")[0].name == "fp32"


@pytest.mark.usefixtures("_capability")
@pytest.mark.parametrize("_capability", [(7, 5)], indirect=True)
@pytest.mark.parametrize("name", ["bf16-mixed", "bf16-pure"])
def test_bf16_is_refused_where_there_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match="no bf16"):
        choose_precision(PrecisionConfig(name=name), CUDA, "fp32")


def test_what_automatic_became_is_checked_against_the_other_options() -> None:
    with pytest.raises(ConfigError, match=r"precision\.base_dtype"):
        choose_precision(PrecisionConfig(base_dtype="bf16"), MPS, "fp32")  # fp32 there


def test_a_quantised_base_is_refused_on_apple_gpus() -> None:
    with pytest.raises(ConfigError, match="Apple"):
        choose_precision(PrecisionConfig(base_dtype="nf4"), MPS, "fp32")


def test_a_bf16_model_in_fp16_is_warned_about() -> None:
    _, reason = choose_precision(PrecisionConfig(name="fp16-mixed"), CUDA, "bf16")
    assert "65504" in reason_text([reason], "fp16-mixed")


def test_a_precision_for_study_says_so_and_plain_bf16_weights_ask_for_stochastic_rounding() -> None:
    assert reason_text([remark("fp16-pure", CPU, "fp32")], "fp16-pure").startswith("For study only")
    assert "stochastic rounding" in reason_text([remark("bf16-pure", CPU, "fp32")], "bf16-pure")
    assert remark("bf16-pure", CPU, "fp32", stochastic_rounding=True) == ""
    assert [entry.name for entry in PRECISIONS if entry.for_study] == ["fp16-pure"]


@pytest.mark.parametrize(
    ("name", "base_dtype", "stored", "chosen", "said"),
    [
        ("bf16-mixed", "auto", "fp32", "bf16", "the same result"),
        ("bf16-mixed", "auto", "bf16", "bf16", "the model's own format"),
        ("fp16-mixed", "auto", "bf16", "fp16", "the same result"),
        ("fp32", "auto", "bf16", "fp32", "like all others"),
        ("bf16-pure", "auto", "fp32", "bf16", "like all others"),
        ("fp32", "nf4", "fp32", "nf4", "as you asked"),
    ],
)
def test_frozen_weights_are_stored_as_the_products_take_them_with_the_reason(
    name: str, base_dtype: str, stored: str, chosen: str, said: str
) -> None:
    config = PrecisionConfig.model_validate({"name": name, "base_dtype": base_dtype})
    precision = PRECISIONS.get(name)
    assert choose_storage(config, precision) == chosen
    reason = reason_text([storage_reason(config, precision, stored)], name, chosen)
    assert chosen in reason
    assert said in reason
