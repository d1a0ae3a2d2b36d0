"""A model whose chat template never ends or eats all memory: commands refuse it in a sentence, or do without it.

All of them render through `studio.engine.models.template`, in its process with limits on time and memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.engine.models import template
from studio.runner import probe
from tests.cli.conftest import Answer
from tests.tiny import save_model

ROW = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}
BOMBS = {
    "power": "{{ 9**(9**9) }}",
    "batch": "{{ range(10**9) | batch(10**9) | list }}",
    "repetition": "{{ 'a' * 6000000000 }}",
    "integer": "{{ (9**99999) | string }}",
}
# It works when a model is looked at, and goes off on rows. Constants alone would be computed when it is compiled.
LATE = (
    "{% if messages[0].content != '"
    + template.QUESTION
    + "' %}{{ (messages|length) ** (9**(9 + messages|length)) }}{% endif %}"
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
COMMANDS: dict[str, Callable[[Path], list[object]]] = {
    "train": lambda folder: ["train", folder / "config.toml", "--runs", folder / "runs"],
    "estimate": lambda folder: ["estimate", folder / "config.toml"],
    "inspect-data": lambda folder: ["inspect-data", folder / "rows.jsonl", "--model", folder / "model"],
    "inspect-model": lambda folder: ["inspect-model", folder / "model"],
    "chat": lambda folder: ["chat", folder / "model", "--prompt", "Hi"],
    "probe": lambda folder: ["probe", folder / "config.toml", "--steps", "1"],
}
OF_A_RUN: dict[str, Callable[[Path], list[object]]] = {
    "export": lambda run: ["export", run, "--to", "adapter"],
    "chat": lambda run: ["chat", run, "--prompt", "Hi"],
    "verify": lambda run: ["verify", next((run / "exports").iterdir())],
    "resume": lambda run: ["resume", run, "--set", "training.max_steps=2"],
}


def write_bomb(folder: Path, bomb: str) -> Path:
    """Write a model that has a hostile template, rows, and a configuration; return their folder."""
    model = save_model(folder / "model")
    settings = model / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"chat_template": bomb}))
    (model / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "rows.jsonl").write_text(f"{json.dumps(ROW)}\n" * 8)
    (folder / "config.toml").write_text(
        f'model.path = "{model}"\nmodel.kind = "chat"\ntraining.max_steps = 1\ntraining.device = "cpu"\n'
        f'[[data.sources]]\npath = "{folder / "rows.jsonl"}"\n'
    )
    return folder


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Return a maker of `write_bomb`'s folder; templates get a second, and the probe works in this process."""
    monkeypatch.setattr(template, "SECONDS", 1.0)
    monkeypatch.setattr(probe, "run_in_child", lambda work, job, progress: work(job, progress))
    yield lambda bomb: write_bomb(tmp_path, bomb)
    template.close_process()
    template.try_template.cache_clear()


CASES = [(name, bomb) for name in ("train", "inspect-data", "inspect-model") for bomb in BOMBS]
CASES += [("estimate", "power"), ("chat", "power"), ("probe", "power")]


@pytest.mark.parametrize(("name", "bomb"), CASES)
def test_a_command_refuses_a_bomb_in_a_sentence_or_does_without_the_template(
    command: Callable[..., Answer], hostile: Callable[[str], Path], name: str, bomb: str
) -> None:
    answer = command(*COMMANDS[name](hostile(BOMBS[bomb])))
    assert "Traceback" not in answer.out + answer.err
    if name in ("train", "probe"):
        assert answer.status == 1
        assert "it has no chat template that works; install one" in answer.err.splitlines()[-1]
    elif name == "inspect-model":
        assert answer.status == 0
        assert "Its chat template does not work." in answer.out
    else:  # the rows, the memory and the answer are those of a Base model
        assert answer.status == 0
        assert BOMBS[bomb] not in answer.out


@pytest.mark.parametrize("name", ["train", "chat", "probe"])
def test_a_bomb_that_goes_off_on_rows_is_a_sentence(
    command: Callable[..., Answer], hostile: Callable[[str], Path], name: str
) -> None:
    answer = command(*COMMANDS[name](hostile(LATE)))
    assert "Traceback" not in answer.out + answer.err
    assert answer.status == 1
    assert "does not come to an end in 1 seconds; choose another model." in answer.err.splitlines()[-1]


def test_the_run_of_a_stranger_with_a_bomb_is_a_sentence(
    command: Callable[..., Answer], hostile: Callable[[str], Path]
) -> None:
    folder = hostile(BOMBS["power"])
    base = ["--set", "model.kind=base", "--set", "retention.measure=false"]
    assert command(*COMMANDS["train"](folder), *base).status == 0
    (run,) = (folder / "runs").iterdir()
    assert command(*OF_A_RUN["export"](run)).status == 0
    state = json.loads((run / "state.json").read_text())
    state["model"]["kind"] = "chat"  # as if it had been trained with that template
    (run / "state.json").write_text(json.dumps(state))
    answers = {name: command(*make(run)) for name, make in OF_A_RUN.items()}
    assert not [name for name, answer in answers.items() if "Traceback" in answer.out + answer.err]
    refused = {name for name, answer in answers.items() if answer.status}
    assert refused == {"export", "chat"}  # the others do without the template
    for name in ("export", "chat"):
        assert "does not come to an end in 1 seconds; choose another model." in answers[name].err.splitlines()[-1]
