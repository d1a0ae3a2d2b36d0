"""Templates run in a process of their own, and the one that is judged is the one that is used."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import psutil
import pytest

from studio.engine.child import Child
from studio.engine.data.formats.base import Example, Piece
from studio.engine.data.render import Renderer
from studio.engine.models import template
from studio.engine.models.inspect import inspect_model
from studio.engine.models.load import load_tokenizer
from studio.engine.models.template import Refused, Wanted, default_template, render, template_tokens
from studio.engine.models.tokenizer_files import read_template, read_tokenizer
from studio.errors import ModelError
from tests.engine.models.editing import edit_json, set_template
from tests.tiny import CHAT_TEMPLATE

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]
OTHER = CHAT_TEMPLATE.replace("user", "person")


def one(source: str) -> str | Refused:
    return render(source, {"eos_token": "</s>"}, [(TURNS, [Wanted(2)])])[0][0]


def test_a_call_renders_what_is_wanted_of_each_conversation() -> None:
    source = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }} {% endfor %}"
    source += "{% if add_generation_prompt %}assistant:{% endif %}"
    first = TURNS, [Wanted(2), Wanted(1, ask=True), Wanted(1, answer="X")]
    assert render(source, {"eos_token": "</s>"}, [first, (TURNS[:1], [Wanted(1)])]) == [
        ["user: Hi</s> assistant: Yo</s> ", "user: Hi</s> assistant:", "user: Hi</s> assistant: X</s> "],
        ["user: Hi</s> "],
    ]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{{ 'a' * 6000000000 }}", "growth"),
        ("{{ 'a' | center(3000000000) }}", "growth"),
        ("{{ '%9999999999d' % 1 }}", "growth"),
        ("{{ [1] * 10**9 }}", "growth"),
        ("{{ range(10**9) | batch(10**9) | list }}", "OverflowError"),
        ("{{ (9**9999) | string }}", "ValueError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ 'a' * 1100000 }}", "growth"),
    ],
)
def test_a_bomb_is_refused_and_the_process_goes_on(source: str, error: str) -> None:
    found = one(source)
    assert isinstance(found, Refused)
    assert found.error == error
    assert one("{{ messages[1].content }}") == "Yo"


def test_a_computation_in_c_that_nothing_interrupts_is_ended_with_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one("x")  # the start of the process takes as long as it takes
    with monkeypatch.context() as patch:
        patch.setattr(template, "SECONDS", 0.3)
        with pytest.raises(ModelError, match="does not come to an end"):
            one("{{ 9**(9**9) }}")
    assert one("{{ messages[0].content }}") == "Hi"


def test_a_process_that_was_ended_from_outside_is_started_again() -> None:
    one("x")
    rendering = psutil.Process().children()
    for process in rendering:
        process.kill()
    assert rendering
    assert one("{{ messages[0].content }}") == "Hi"


def test_a_template_that_ends_its_process_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "_child", None)
    monkeypatch.setattr(template, "Child", lambda _: Child(end_at_once))
    with pytest.raises(ModelError, match="could not be run"):
        one("x")


def end_at_once(*_: object) -> None:
    os._exit(7)


def test_threads_share_the_process() -> None:
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append((n, one(f"{n}" + "{{ messages[0].content }}"))))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(n, f"{n}Hi") for n in range(4)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system starts every process anew")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it has threads, says Python 3.12
def test_a_forked_process_has_a_process_of_its_own() -> None:
    one("x")
    read, write = os.pipe()
    if not (forked := os.fork()):
        os.write(write, str(one("{{ messages[1].content }}")).encode())
        template.close_process()
        os._exit(0)
    assert one("{{ messages[0].content }}") == "Hi"
    assert os.waitpid(forked, 0)[1] == 0
    assert os.read(read, 9) == b"Yo"
    os.close(read)
    os.close(write)


def in_config(folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", chat_template=OTHER)


def named_in_config(folder: Path) -> None:
    entries = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": OTHER}]
    edit_json(folder / "tokenizer_config.json", chat_template=entries)


def of_a_processor(folder: Path) -> None:
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": OTHER}), encoding="utf-8")


def in_config_and_of_a_processor(folder: Path) -> None:
    in_config(folder)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "other"}), encoding="utf-8")


def additional(folder: Path, **named: str) -> None:
    (folder / "additional_chat_templates").mkdir()
    for name, source in named.items():
        (folder / "additional_chat_templates" / f"{name}.jinja").write_text(source, encoding="utf-8")


def beside_additional(folder: Path) -> None:
    set_template(folder, OTHER)
    additional(folder, tool_use="x")


def additional_default(folder: Path) -> None:
    set_template(folder, "replaced")
    additional(folder, default=OTHER)


def config_overruled_by_additional(folder: Path) -> None:
    in_config(folder)
    additional(folder, tool_use="x")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (in_config, OTHER),
        (named_in_config, OTHER),
        (of_a_processor, OTHER),
        (in_config_and_of_a_processor, OTHER),
        (beside_additional, OTHER),
        (additional_default, OTHER),
        (config_overruled_by_additional, None),
    ],
)
def test_the_template_judged_is_the_one_used(folder: Path, change: object, found: str | None) -> None:
    set_template(folder, None)
    assert callable(change)
    change(folder)
    tokenizer = load_tokenizer(folder)
    assert read_template(folder) == default_template(tokenizer) == found
    assert inspect_model(folder).has_template == (found is not None)
    assert read_tokenizer(folder, {}).special.items() <= template_tokens(tokenizer).items()


@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_an_end_token_that_stands_only_as_an_id_is_found_and_taught(folder: Path, file: str) -> None:
    edit_json(folder / "tokenizer_config.json", eos_token=None)
    for name in ("generation_config.json", "config.json"):
        edit_json(folder / name, eos_token_id=[0, 2] if name == file else None)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.eos_token == inspect_model(folder).eos_token == "<|endoftext|>"
    (row,) = Renderer(tokenizer, "base").encode(Example((Piece("hello", learnt=True),)))
    assert (row.input_ids[-1], row.supervised[-1]) == (0, True)
