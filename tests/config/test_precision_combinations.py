"""Options that contradict each other are refused with the key, the reason and the mend; what merely idles is let be."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from studio.config import RunConfig, parse_config
from studio.errors import ConfigError


def _parse(precision: dict[str, Any], method: dict[str, Any] | None = None) -> RunConfig:
    return parse_config(
        {
            "model": {"path": "m"},
            "data": {"sources": [{"path": "d.jsonl"}]},
            "method": method or {"name": "lora"},
            "precision": precision,
        }
    )


FULL = {"name": "full"}


@pytest.mark.parametrize(
    ("precision", "method", "words"),
    [
        ({"name": "bf16-mixed", "stochastic_rounding": True}, None, ("stochastic_rounding", "bf16-pure", "bf16-mixed")),
        ({"name": "fp16-pure", "stochastic_rounding": True}, None, ("stochastic_rounding", "bf16-pure")),
        ({"name": "auto", "stochastic_rounding": True}, None, ("stochastic_rounding", "bf16-pure")),
        ({"base_dtype": "nf4"}, FULL, ("base_dtype", "nf4", "full", "lora")),
        ({"name": "fp32", "base_dtype": "int8"}, FULL, ("base_dtype", "int8", "full")),
        ({"name": "bf16-pure", "base_dtype": "fp32"}, FULL, ("base_dtype", "fp32", "bf16", "auto")),
        ({"name": "fp16-pure", "base_dtype": "bf16"}, FULL, ("base_dtype", "fp16", "auto")),
        ({"name": "bf16-pure", "base_dtype": "fp32"}, None, ("base_dtype", "fp32", "bf16", "auto")),
        ({"name": "fp16-pure", "base_dtype": "bf16"}, None, ("base_dtype", "fp16", "auto")),
        ({"name": "fp32", "base_dtype": "bf16"}, None, ("base_dtype", "bf16", "fp32", "auto")),
        ({"name": "fp16-mixed", "minimum_scale": 1e6}, None, ("minimum_scale", "1e+06", "65536", "lower")),
        ({"name": "auto", "minimum_scale": 1e6}, None, ("minimum_scale", "initial_scale")),
    ],
)
def test_a_contradiction_is_refused_with_its_reason(
    precision: dict[str, Any], method: dict[str, Any] | None, words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        _parse(precision, method)
    sentence = str(caught.value)
    assert sentence.startswith("precision.")
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    ("precision", "method"),
    [
        ({"name": "bf16-pure", "stochastic_rounding": True}, None),
        ({"name": "bf16-pure", "stochastic_rounding": True}, FULL),
        ({"name": "bf16-pure", "base_dtype": "bf16"}, FULL),
        ({"name": "bf16-pure", "base_dtype": "nf4"}, None),
        ({"name": "fp16-mixed", "base_dtype": "fp32"}, None),
        ({"name": "bf16-mixed", "base_dtype": "fp16"}, None),
        ({"name": "fp32", "base_dtype": "nf4"}, {"name": "lora", "dora": True}),
        ({"name": "fp32", "loss_scaling": "static", "initial_scale": 1024.0}, None),
        ({"name": "bf16-mixed", "minimum_scale": 1e6}, None),
        ({"name": "fp16-mixed", "loss_scaling": "static", "minimum_scale": 1e6}, None),
        ({"name": "bf16-mixed", "tf32": True}, None),
    ],
)
def test_what_works_or_merely_idles_is_accepted(precision: dict[str, Any], method: dict[str, Any] | None) -> None:
    config = _parse(precision, method)
    assert all(getattr(config.precision, key) == value for key, value in precision.items())


def test_the_check_needs_no_torch() -> None:
    words = (
        "import sys; from studio.config import parse_config; "
        "parse_config({'model': {'path': 'm'}, 'data': {'sources': [{'path': 'd'}]}, 'precision': {'base_dtype': 'nf4'}});"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
