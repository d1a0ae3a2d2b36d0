"""Tiny seeded models, and finished runs on them made with peft alone: the oracle that exports are held against."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.config import parse_config, write_config
from studio.config.method import read_method
from studio.engine.export import stopping
from studio.engine.methods import METHODS
from studio.runs import RunFolder, create_run

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ROWS = [{"prompt": f"What is {number} plus {number}?", "completion": f"It is {2 * number}."} for number in range(40)]
MakeRun = Callable[..., RunFolder]


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny base models, by name. The GPT-2 always ends its answer at once."""
    root = tmp_path_factory.mktemp("bases")
    tokenizer = _tokenizer()
    models = {
        "llama-tied": _llama(len(tokenizer), tie_word_embeddings=True),
        "llama-untied": _llama(len(tokenizer), tie_word_embeddings=False),
        "llama-leaning": _leaning(_llama(len(tokenizer), tie_word_embeddings=True)),
        "gpt2": _gpt2(len(tokenizer), tokenizer.eos_token_id),
    }
    for name, model in models.items():
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    return {name: root / name for name in models}


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((row["prompt"] + row["completion"] for row in ROWS), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=special[0], pad_token=special[0], extra_special_tokens=special[1:]
    )
    fast.chat_template = TEMPLATE
    return fast


def _llama(vocabulary: int, **options: Any) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=0,
        **options,
    )
    return LlamaForCausalLM(config)


def _leaning(model: Any) -> Any:
    """Give all word vectors something in common, so that the hidden states lie on one side, as trained models' do."""
    import torch

    with torch.no_grad():
        model.get_input_embeddings().weight += torch.ones(32)
    return model


def _gpt2(vocabulary: int, end: int) -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=512,
        bos_token_id=end,
        eos_token_id=end,
        initializer_range=0.2,
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        # Every hidden state leans towards the end token's own vector, which therefore is always the likeliest.
        model.transformer.ln_f.bias += 40 * model.transformer.wte.weight[end]
    return model


@pytest.fixture
def half(bases: dict[str, Path], tmp_path: Path) -> Path:
    """The folder of a base that is stored in bf16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(bases["llama-tied"], dtype=torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(bases["llama-tied"]).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model never ends its answer; waiting for it teaches nothing here."""
    monkeypatch.setattr(stopping, "LIMIT", 12)


@pytest.fixture
def make_run(tmp_path: Path, bases: dict[str, Path]) -> MakeRun:
    """Return a maker of finished runs: `make_run("llama-tied", kind="chat", method={…}, base_dtype="nf4")`."""

    def make(base: str | Path = "llama-tied", **options: Any) -> RunFolder:
        return finished_run(tmp_path, bases[base] if isinstance(base, str) else base, **options)

    return make


def finished_run(
    place: Path,
    base: Path,
    *,
    kind: str = "chat",
    method: dict[str, Any] | None = None,
    base_dtype: str = "auto",
) -> RunFolder:
    """Make a run on a base, with its rows, below `place`."""
    data = place / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    method = method or {}
    table = method if "name" in method else {"name": "lora", "rank": 4, "alpha": 8} | method
    values = {
        "model": {"path": str(base), "kind": kind},
        "data": {"sources": [{"path": str(data)}], "max_length": 128},
        "method": table,
        "precision": {"base_dtype": base_dtype},
    }
    folder = create_run(place / "runs", "tiny", write_config(parse_config(values)))
    _train(base, folder, table)
    folder.write_state("finished", model={"path": str(base), "name": base.name, "kind": kind}, updates=3)
    return folder


def _train(base: Path, folder: RunFolder, method: dict[str, Any]) -> None:
    """Stand in for training: random changes of about the size that training makes."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(1)
    if method["name"] == "bottleneck-adapter":
        _train_bottleneck(model, folder, method)
        return
    if method["name"] != "full":
        model = _with_peft(model, method)
    size = 0.3 if "virtual_tokens" in method else 0.02
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "lora_A" not in name:
                parameter += size * torch.randn_like(parameter)
    model.save_pretrained(folder.adapter)


def _train_bottleneck(model: Any, folder: RunFolder, method: dict[str, Any]) -> None:
    """The app's own method, which no other library has; its own tests hold it against the paper."""
    import torch

    spec = METHODS.get("bottleneck-adapter")
    trained = spec.attach(model, read_method(method))
    with torch.no_grad():
        for parameter in trained.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    folder.adapter.mkdir(exist_ok=True)
    spec.save(trained, folder.adapter)


def _with_peft(model: Any, method: dict[str, Any]) -> Any:
    import peft

    transposed = model.config.model_type == "gpt2"
    if method["name"] == "lora":
        config: Any = peft.LoraConfig(
            r=method["rank"],
            lora_alpha=method["alpha"],
            target_modules="all-linear",
            use_dora=method.get("dora", False),
            fan_in_fan_out=transposed,
            task_type="CAUSAL_LM",
        )
    elif method["name"] == "ia3":
        config = peft.IA3Config(fan_in_fan_out=transposed, task_type="CAUSAL_LM")
    else:
        made = {
            "prompt-tuning": peft.PromptTuningConfig,
            "p-tuning": peft.PromptEncoderConfig,
            "prefix-tuning": peft.PrefixTuningConfig,
        }[method["name"]]
        options = {"encoder_hidden_size": 32} if method["name"] == "p-tuning" else {}
        config = made(num_virtual_tokens=method["virtual_tokens"], task_type="CAUSAL_LM", **options)
    return peft.get_peft_model(model, config)
