"""A Base model is taught dialogue: the export speaks and stops in plain transformers, without this program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.config import parse_config, read_config, write_config
from studio.engine.control import Control
from studio.engine.export.run import export_run
from studio.engine.export.verify import verify_export
from studio.engine.training.run import train
from studio.runs import create_run
from tests.tiny import llama, tokenizer

ASKED = [f"Is {number} a number?" for number in range(24)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that ends texts with a token that ChatML never writes, as Base models do."""
    folder = tmp_path_factory.mktemp("base")
    model = llama()
    model.config.eos_token_id = model.generation_config.eos_token_id = 0
    model.save_pretrained(folder)
    words = tokenizer()
    words.chat_template, words.eos_token = None, "<|endoftext|>"
    words.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("template", "end"), [("chatml", "<|im_end|>"), ("headings", "<|endoftext|>")])
def test_an_installed_template_and_its_end_token_are_in_the_export(
    base: Path, tmp_path: Path, template: str, end: str
) -> None:
    rows = tmp_path / "rows.jsonl"
    turns = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}]} for text in ASKED
    ]
    rows.write_text("".join(json.dumps(turn) + "\n" for turn in turns), encoding="utf-8")
    config = parse_config(
        {
            "model": {"path": str(base), "chat_template": template},
            "data": {"sources": [{"path": str(rows)}], "validation_fraction": 0.2},
            "method": {"name": "full"},
            "precision": {"name": "fp32"},
            "training": {"max_steps": 60, "learning_rate": 1e-2, "device": "cpu"},
        }
    )
    folder = create_run(tmp_path / "runs", "tiny", write_config(config))
    train(config, folder, Control(), lambda event: None)
    assert folder.read_state()["model"]["kind"] == "chat"
    assert read_config(folder.config).model.chat_template == template

    result = export_run(folder, "merged")
    assert result.passed, [check for check in result.checks if not check.passed]
    stops = next(check for check in result.checks if check.name == "stops_by_itself")
    assert stops.value == 4
    assert verify_export(result.path).passed
    assert "was installed for this training" in (result.path / "README.md").read_text(encoding="utf-8")

    words = AutoTokenizer.from_pretrained(result.path)
    model = AutoModelForCausalLM.from_pretrained(result.path)
    assert words.eos_token == end
    prompt = words.apply_chat_template(
        [{"role": "user", "content": "Is it?"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    said = model.generate(**prompt, max_new_tokens=40, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert words.decode(said) == "yes" + end
