"""A model whose chat template never ends or eats all memory: commands refuse it in a sentence, or do without it.

All of them render through `studio.engine.models.template`, in its process with limits on time and memory.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.engine.models import template
from tests.cli.conftest import Answer
from tests.tiny import save_model

ROW = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}
BOMBS = {
    "power": "{{ 9**(9**9) }}",
    "batch": "{{ range(10**9) | batch(10**9) | list }}",
    "repetition": "{{ 'a' * 6000000000 }}",
    "integer": "{{ (9**99999) | string }}",
}
COMMANDS: dict[str, Callable[[Path], list[object]]] = {
    "train": lambda folder: ["train", folder / "config.toml", "--runs", folder / "runs"],
    "estimate": lambda folder: ["estimate", folder / "config.toml"],
    "inspect-data": lambda folder: ["inspect-data", folder / "rows.jsonl", "--model", folder / "model"],
    "inspect-model": lambda folder: ["inspect-model", folder / "model"],
    "chat": lambda folder: ["chat", folder / "model", "--prompt", "Hi"],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("bombs") / "model")


@pytest.fixture
def hostile(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """A folder with a model that has a hostile template, rows, and a configuration; templates get a second."""
    monkeypatch.setattr(template, "SECONDS", 1.0)

    def make(bomb: str) -> Path:
        shutil.copytree(model, tmp_path / "model")
        settings = tmp_path / "model" / "tokenizer_config.json"
        values = json.loads(settings.read_text()) | {"chat_template": bomb}
        settings.write_text(json.dumps(values))
        (tmp_path / "model" / "chat_template.jinja").unlink(missing_ok=True)
        (tmp_path / "rows.jsonl").write_text(f"{json.dumps(ROW)}\n" * 8)
        (tmp_path / "config.toml").write_text(
            f'model.path = "{tmp_path / "model"}"\nmodel.kind = "chat"\ntraining.max_steps = 1\ntraining.device = "cpu"\n'
            f'[[data.sources]]\npath = "{tmp_path / "rows.jsonl"}"\n'
        )
        return tmp_path

    yield make
    template.close_process()
    template.try_template.cache_clear()


CASES = [(name, bomb) for name in ("train", "inspect-data", "inspect-model") for bomb in BOMBS]


@pytest.mark.parametrize(("name", "bomb"), [*CASES, ("estimate", "power"), ("chat", "power")])
def test_a_command_refuses_a_bomb_in_a_sentence_or_does_without_the_template(
    command: Callable[..., Answer], hostile: Callable[[str], Path], name: str, bomb: str
) -> None:
    answer = command(*COMMANDS[name](hostile(BOMBS[bomb])))
    assert "Traceback" not in answer.out + answer.err
    if name == "train":
        assert answer.status == 1
        assert "it has no chat template that works; install one" in answer.err.splitlines()[-1]
    elif name == "inspect-model":
        assert answer.status == 0
        assert "Its chat template does not work." in answer.out
    else:  # the rows, the memory and the answer are those of a Base model
        assert answer.status == 0
        assert BOMBS[bomb] not in answer.out
