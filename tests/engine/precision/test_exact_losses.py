"""Every precision, with and without a quantised base, computes what it computed when it was checked."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import PreTrainedModel

from tests.tiny import Bench, bench, gpt2, llama, rows

LORA = {"name": "lora", "rank": 4, "alpha": 32, "dropout": 0.0}
METHODS: dict[str, dict[str, object]] = {
    "lora": LORA,
    "dora": LORA | {"dora": True},
    "full": {"name": "full"},
    "bottleneck-adapter": {"name": "bottleneck-adapter", "bottleneck": 8},
    "pissa": {"name": "lora", "rank": 4, "alpha": 32, "init": "pissa"},
    "ia3": {"name": "ia3"},
    "prompt-tuning": {"name": "prompt-tuning", "virtual_tokens": 5},
    "p-tuning, mlp": {"name": "p-tuning", "virtual_tokens": 5},
    "p-tuning, lstm": {"name": "p-tuning", "virtual_tokens": 5, "encoder": "lstm", "hidden_size": 8},
    "prefix-tuning": {"name": "prefix-tuning", "virtual_tokens": 5},
}
# Few numbers take large steps: at 1e-2 these would hardly move, and a wrong gradient would not show.
RATES = {"ia3": 0.3, "prompt-tuning": 0.1, "prefix-tuning": 1.0}
PRECISIONS: dict[str, dict[str, object]] = {
    "fp32": {"name": "fp32"},
    "fp16-mixed": {"name": "fp16-mixed", "initial_scale": 1024.0},
    "bf16-mixed": {"name": "bf16-mixed"},
    "bf16-pure": {"name": "bf16-pure"},
    "bf16-pure, stochastic": {"name": "bf16-pure", "stochastic_rounding": True},
    "fp16-pure": {"name": "fp16-pure", "initial_scale": 1024.0},
    "fp32, nf4": {"name": "fp32", "base_dtype": "nf4"},
    "fp32, int8": {"name": "fp32", "base_dtype": "int8"},
    "fp16-mixed, nf4": {"name": "fp16-mixed", "base_dtype": "nf4", "initial_scale": 1024.0},
    "bf16-mixed, nf4": {"name": "bf16-mixed", "base_dtype": "nf4"},
    "bf16-mixed, int8": {"name": "bf16-mixed", "base_dtype": "int8"},
    "bf16-pure, nf4": {"name": "bf16-pure", "base_dtype": "nf4"},
}
# Losses of four updates on 8 rows; made by this code once it had been checked against the oracles of these tests:
# the definition of the loss (test_update.py), torch's AdamW (test_optimizer.py), and the rounded base below.
EXPECTED = {
    ("lora", "fp32"): [5.7233477, 5.6718779, 5.6072917, 5.7291794],
    ("lora", "fp16-mixed"): [5.7233505, 5.671876, 5.607307, 5.7291427],
    ("lora", "bf16-mixed"): [5.7233338, 5.6719661, 5.607604, 5.7292461],
    ("lora", "bf16-pure"): [5.7232943, 5.6720181, 5.6077256, 5.7294326],
    ("lora", "bf16-pure, stochastic"): [5.7232943, 5.6720181, 5.6079102, 5.7294374],
    ("lora", "fp16-pure"): [5.7233381, 5.6718745, 5.6072884, 5.7291679],
    ("lora", "fp32, nf4"): [5.7226043, 5.6587558, 5.6140575, 5.7252574],
    ("lora", "fp32, int8"): [5.7233567, 5.6720304, 5.6071229, 5.730247],
    ("lora", "fp16-mixed, nf4"): [5.7226105, 5.6587548, 5.6141248, 5.7250729],
    ("lora", "bf16-mixed, nf4"): [5.7225847, 5.6584287, 5.613925, 5.7260413],
    ("lora", "bf16-mixed, int8"): [5.7233763, 5.6720181, 5.6059752, 5.727838],
    ("lora", "bf16-pure, nf4"): [5.7225623, 5.6580544, 5.6148486, 5.7214265],
    ("dora", "fp32"): [5.7233477, 5.6862268, 5.6556954, 5.7223678],
    ("dora", "fp16-mixed"): [5.7233524, 5.686233, 5.6556916, 5.722362],
    ("dora", "bf16-mixed"): [5.7233319, 5.6862636, 5.6556144, 5.7220998],
    ("dora", "bf16-pure"): [5.7232943, 5.6862779, 5.6555176, 5.7225747],
    ("dora", "bf16-pure, stochastic"): [5.7232943, 5.6862211, 5.6553679, 5.7222877],
    ("dora", "fp16-pure"): [5.7233372, 5.6862297, 5.6556993, 5.7223735],
    ("dora", "fp32, nf4"): [5.7226043, 5.6745539, 5.6454573, 5.7239509],
    ("dora", "fp32, int8"): [5.7233567, 5.6861839, 5.6557226, 5.7226219],
    ("dora", "fp16-mixed, nf4"): [5.722609, 5.6745591, 5.6454644, 5.7239513],
    ("dora", "bf16-mixed, nf4"): [5.7225838, 5.6743746, 5.6454539, 5.7238598],
    ("dora", "bf16-mixed, int8"): [5.7232928, 5.6860971, 5.6555676, 5.722733],
    ("dora", "bf16-pure, nf4"): [5.7225194, 5.6740494, 5.6451192, 5.7237644],
    ("full", "fp32"): [5.7233477, 5.3574119, 5.0835333, 5.7232146],
    ("full", "fp16-mixed"): [5.7233505, 5.3575454, 5.0838423, 5.7232757],
    ("full", "bf16-mixed"): [5.7233338, 5.3588619, 5.0851288, 5.7238688],
    ("full", "bf16-pure"): [5.7232943, 5.3587646, 5.0854955, 5.722755],
    ("full", "bf16-pure, stochastic"): [5.7232943, 5.3578176, 5.0842972, 5.722692],
    ("full", "fp16-pure"): [5.7233381, 5.3574715, 5.0835929, 5.723105],
    ("bottleneck-adapter", "fp32"): [5.7233477, 5.6709285, 5.6615901, 5.7230344],
    ("bottleneck-adapter", "fp16-mixed"): [5.7233505, 5.6709328, 5.6615958, 5.723021],
    ("bottleneck-adapter", "bf16-mixed"): [5.7233338, 5.6708517, 5.6615162, 5.7230859],
    ("bottleneck-adapter", "bf16-pure"): [5.7232943, 5.6709123, 5.6615224, 5.7230887],
    ("bottleneck-adapter", "fp16-pure"): [5.7233381, 5.670927, 5.6615939, 5.7230453],
    ("bottleneck-adapter", "fp32, nf4"): [5.7226043, 5.6744061, 5.6630259, 5.7243652],
    ("bottleneck-adapter", "fp32, int8"): [5.7233567, 5.670867, 5.6615567, 5.7243595],
    ("bottleneck-adapter", "bf16-mixed, nf4"): [5.7225847, 5.6743622, 5.6629519, 5.7243237],
    ("pissa", "fp32"): [5.7233477, 5.676425, 5.6414471, 5.7241898],
    ("pissa", "fp16-mixed"): [5.7233453, 5.6764331, 5.6414475, 5.7241769],
    ("pissa", "bf16-mixed"): [5.7233772, 5.6769667, 5.6417561, 5.7241387],
    ("pissa", "bf16-pure"): [5.7231965, 5.6764312, 5.6415291, 5.7236543],
    ("pissa", "fp16-pure"): [5.7233338, 5.6764774, 5.6418471, 5.7245312],
    ("ia3", "fp32"): [5.7233477, 5.7167306, 5.7100859, 5.7173381],
    ("ia3", "fp16-mixed"): [5.7233505, 5.7167354, 5.7100921, 5.7173457],
    ("ia3", "bf16-mixed"): [5.7233338, 5.7170043, 5.7105432, 5.7190437],
    ("ia3", "bf16-pure"): [5.7232943, 5.7166352, 5.7099857, 5.7174015],
    ("ia3", "fp16-pure"): [5.7233381, 5.7167392, 5.7100997, 5.7173486],
    ("ia3", "bf16-mixed, nf4"): [5.7225847, 5.7146311, 5.7065907, 5.7159176],
    ("prompt-tuning", "fp32"): [5.7257009, 5.7094631, 5.7087178, 5.7299671],
    ("prompt-tuning", "fp16-mixed"): [5.7256975, 5.7094674, 5.7087173, 5.7299609],
    ("prompt-tuning", "bf16-mixed"): [5.7256742, 5.7094436, 5.7087417, 5.7299056],
    ("prompt-tuning", "bf16-pure"): [5.7255769, 5.7094479, 5.7085733, 5.729866],
    ("prompt-tuning", "fp16-pure"): [5.7256966, 5.7094674, 5.7087278, 5.7299666],
    ("prompt-tuning", "bf16-mixed, nf4"): [5.7251325, 5.7058501, 5.7049675, 5.7293458],
    ("p-tuning, mlp", "fp32"): [5.7320056, 5.7202301, 5.7141743, 5.7286248],
    ("p-tuning, mlp", "fp16-mixed"): [5.7320032, 5.7202282, 5.7141752, 5.7286339],
    ("p-tuning, mlp", "bf16-mixed"): [5.7319956, 5.7202435, 5.7142067, 5.7286091],
    ("p-tuning, mlp", "bf16-pure"): [5.7320504, 5.7203269, 5.7141457, 5.7286105],
    ("p-tuning, mlp", "fp16-pure"): [5.7320056, 5.7202272, 5.7141695, 5.7286377],
    ("p-tuning, mlp", "bf16-mixed, nf4"): [5.7323499, 5.7187986, 5.7114367, 5.7286153],
    ("p-tuning, lstm", "fp32"): [5.7284713, 5.7233601, 5.7189541, 5.7276587],
    ("p-tuning, lstm", "fp16-mixed"): [5.7284751, 5.7233648, 5.7189655, 5.7276554],
    ("p-tuning, lstm", "bf16-mixed"): [5.7284532, 5.7233424, 5.7189069, 5.7276435],
    ("p-tuning, lstm", "bf16-pure"): [5.7284222, 5.7233872, 5.7189755, 5.7276597],
    ("p-tuning, lstm", "fp16-pure"): [5.7284856, 5.7233601, 5.718936, 5.7276616],
    ("p-tuning, lstm", "bf16-mixed, nf4"): [5.7273979, 5.7212262, 5.7159162, 5.7281361],
    ("prefix-tuning", "fp32"): [5.7257009, 5.6866937, 5.6788225, 5.7348075],
    ("prefix-tuning", "fp16-mixed"): [5.7257004, 5.6866879, 5.6788149, 5.7348046],
    ("prefix-tuning", "bf16-mixed"): [5.7256656, 5.686687, 5.678802, 5.734694],
    ("prefix-tuning", "bf16-pure"): [5.725647, 5.686646, 5.6787777, 5.7347054],
    ("prefix-tuning", "fp16-pure"): [5.7256913, 5.686698, 5.6788096, 5.7348075],
    ("prefix-tuning", "bf16-mixed, nf4"): [5.7251225, 5.6893482, 5.680644, 5.7382884],
}


def _losses(method: str, precision: str) -> list[float]:
    tiny = bench(METHODS[method], PRECISIONS[precision])
    return [tiny.update(rows(8, seed=seed), rate=RATES.get(method, 1e-2)).loss for seed in (0, 0, 0, 1)]


@pytest.mark.parametrize(("method", "precision"), EXPECTED)
def test_the_losses_of_four_updates_are_the_stored_ones(method: str, precision: str) -> None:
    tolerance = 2e-5 if precision == "fp32" else 2e-3
    assert _losses(method, precision) == pytest.approx(EXPECTED[method, precision], rel=tolerance)


@pytest.mark.parametrize(("method", "precision"), EXPECTED)
def test_the_same_updates_repeat_bit_for_bit(method: str, precision: str) -> None:
    assert _losses(method, precision) == _losses(method, precision)


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("base_dtype", ["nf4", "int8"])
def test_a_quantised_base_trains_as_a_plain_one_with_the_rounded_weights(base_dtype: str, make: Any) -> None:
    quantised = bench(LORA, {"name": "fp32", "base_dtype": base_dtype}, base=make())
    plain = bench(LORA, base=_with_rounded_weights(quantised, make()))
    for tiny in (quantised, plain):
        tiny.base.eval()  # GPT-2 has dropout of its own
    for seed in (0, 0, 1):
        ours, theirs = (tiny.update(rows(8, seed=seed)) for tiny in (quantised, plain))
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
        assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-4)


def _with_rounded_weights(quantised: Bench, base: PreTrainedModel) -> PreTrainedModel:
    from peft.utils.integrations import dequantize_bnb_weight

    layers = dict(quantised.base.named_modules())
    for name, module in base.named_modules():
        found = layers.get(name)
        rounded = getattr(found, "base_layer", None)
        if rounded is not None:
            weight = dequantize_bnb_weight(rounded.weight, state=getattr(rounded, "state", None)).float()
            transposed = rounded.fan_in_fan_out
            module.weight.data = weight.t().contiguous() if transposed else weight
    return base
