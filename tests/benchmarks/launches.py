"""Operations that a GPU would launch in one training update, beside TRL's, counted on any machine, without a GPU.

    python tests/benchmarks/launches.py [--names]

An update of 8 rows of 256 tokens in one micro-batch, half of them learnt, on a model with the layers of SmolLM2-135M and
random weights; LoRA r=16 in bf16-mixed. A small model on a GPU takes as long as its operations take to start. Both
sides run on the processor; ours takes the ways that it takes on a GPU. Views and metadata do not count, and an
operation over a list of tensors counts one for each few dozens of them. With `--names` each operation is listed.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel  # noqa: E402
from typing_extensions import override  # noqa: E402

from studio.engine.data.rows import IGNORED  # noqa: E402
from studio.engine.training.fast_kernels import choose_kernels  # noqa: E402
from studio.engine.training.trainer import StepObserver  # noqa: E402
from tests.launches import KINDS, Launches, as_on_a_gpu  # noqa: E402
from tests.tiny import Row, bench, tokenizer  # noqa: E402

OURS = "Finetune Studio"
ROWS, LENGTH, RANK, DROPOUT, VOCABULARY = 8, 256, 16, 0.05, 49152


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", action="store_true", help="list every operation")
    arguments = parser.parse_args()
    sides = {OURS: ours(fused=True), "ours with plain norms and rotations": ours(fused=False)}
    if importlib.util.find_spec("trl"):
        sides["TRL, as it comes"] = trl(recompute=True)
        sides["TRL, no gradient checkpointing"] = trl(recompute=False)
    else:
        print("TRL is not installed, and is left out; see README.md")
    _report(sides, names=arguments.names)


def ours(*, fused: bool) -> Launches:
    """Return what our update launches, once the optimizer has its states; with `fused`, after choosing its kernels."""
    with as_on_a_gpu() as launches:
        base = _model()
        for parameter in base.parameters():
            if parameter.dim() > 1:  # as the files of most models have them
                parameter.data = parameter.data.bfloat16()
        tiny = bench({"name": "lora", "rank": RANK, "dropout": DROPOUT}, {"name": "bf16-mixed"}, base=base)
        if (
            fused
            and choose_kernels(tiny.trainer.model, tiny.trainer.precision, _rows()[0].input_ids).kernels == "plain"
        ):
            sys.exit("The fused kernels do not agree with the plain ones")
        watch = _Watch(launches)
        for _ in range(2):
            launches.reset()
            tiny.update(_rows(), token_budget=ROWS * LENGTH, observer=watch)
    return launches


class _Watch(StepObserver):
    """Tells the passes through the model from what the optimizer is part of."""

    def __init__(self, launches: Launches) -> None:
        self._launches = launches

    @override
    @contextmanager
    def first_micro_batch(self, step: int) -> Iterator[None]:
        self._launches.optimizing = False
        yield
        self._launches.optimizing = True


def trl(*, recompute: bool) -> Launches:
    """Return what the second update of TRL's trainer launches."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    launches = Launches()

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            launches.optimizing = False
            if state.global_step == 1:
                launches.__enter__()

        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            launches.optimizing = True

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 2:
                launches.__exit__(None, None, None)

    rows = [
        {"input_ids": row.input_ids, "completion_mask": [int(label != IGNORED) for label in row.labels]}
        for row in 2 * _rows()
    ]
    with tempfile.TemporaryDirectory() as out:
        trainer = SFTTrainer(
            model=_model(),
            args=SFTConfig(
                output_dir=out,
                per_device_train_batch_size=ROWS,
                max_steps=2,
                bf16=True,
                use_cpu=True,
                max_length=LENGTH,
                completion_only_loss=True,
                gradient_checkpointing=recompute,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer(),
            peft_config=LoraConfig(r=RANK, lora_dropout=DROPOUT, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Watch()],
        )
        trainer.train()
    return launches


def _model() -> PreTrainedModel:
    """As many layers, heads and words as SmolLM2-135M has, but an eighth of its width."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=72,
            intermediate_size=192,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
        )
    )


def _rows() -> list[Row]:
    ids = list(range(LENGTH))
    return [Row(ids, [IGNORED] * (LENGTH // 2) + ids[LENGTH // 2 :]) for _ in range(ROWS)]


def _report(sides: dict[str, Launches], *, names: bool) -> None:
    print(f"{'':36}{'all':>8}" + "".join(f"{kind:>13}" for kind in KINDS) + f"{'waits':>8}{'ours/this':>11}")
    total = sides[OURS].total
    for title, side in sides.items():
        columns = "".join(f"{side.launched[kind]:13}" for kind in KINDS)
        print(f"{title:36}{side.total:8}{columns}{side.waits.total():8}{total / side.total:11.2f}")
        if side.waits:
            print("    waits: " + ", ".join(f"{count} {name}" for name, count in side.waits.most_common()))
        if names:
            print("    " + ", ".join(f"{count} {name}" for name, count in side.names.most_common()))


if __name__ == "__main__":
    main()
