"""A preset changes what it says and nothing else; the user's own are kept safely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.config import parse_config
from studio.errors import ConfigError
from studio.i18n import set_language
from studio.paths import resource
from studio.runner import presets
from studio.runner.presets import apply_preset, delete_own, own_folder, own_presets, rename_own, save_own

SHIPPED = {preset.name: preset for preset in presets.shipped_presets()}
TABLES: dict[str, Any] = {
    "model": {"path": "/models/one", "kind": "auto"},
    "data": {"sources": [{"path": "/data/rows.jsonl", "role": "domain"}], "prompt_template": "Q{question}A{answer}"},
    "method": {"name": "prompt-tuning", "virtual_tokens": 8},
    "precision": {"name": "bf16-pure", "stochastic_rounding": True},
    "training": {"max_steps": 7, "seed": 3, "device": "cpu", "start_from": "/runs/one"},
}


@pytest.fixture(autouse=True)
def _a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(tmp_path))


@pytest.mark.parametrize("language", ["en", "zh_CN"])
def test_every_preset_has_words_in_every_language(language: str) -> None:
    set_language(language)
    found = presets.shipped_presets()
    assert all(preset.title and preset.about for preset in found)
    assert language == "en" or not any(preset.title.isascii() or preset.about.isascii() for preset in found)


def test_a_preset_leaves_what_it_does_not_name() -> None:
    after = apply_preset(SHIPPED["style-and-tone"], TABLES)
    assert after["model"] == TABLES["model"]
    assert after["precision"] == TABLES["precision"]
    assert after["data"]["prompt_template"] == TABLES["data"]["prompt_template"]
    assert (after["training"]["seed"], after["training"]["device"]) == (3, "cpu")
    assert TABLES["training"]["max_steps"] == 7


def test_another_method_or_precision_comes_without_the_options_of_the_one_before() -> None:
    after = apply_preset(SHIPPED["smallest-memory"], TABLES)
    assert after["method"] == {"name": "lora", "rank": 8}
    assert after["precision"] == {"name": "auto", "base_dtype": "nf4"}
    parse_config(after)


def test_epochs_take_the_place_of_a_number_of_updates() -> None:
    assert "max_steps" not in apply_preset(SHIPPED["careful"], TABLES)["training"]
    assert apply_preset(SHIPPED["quick-look"], TABLES)["training"]["max_steps"] == 20


@pytest.mark.parametrize(("language", "file"), [("en", "general-en.jsonl"), ("zh_CN", "general-zh.jsonl")])
def test_rehearsal_brings_general_rows_where_there_are_none(language: str, file: str) -> None:
    set_language(language)
    after = apply_preset(SHIPPED["new-knowledge"], TABLES)
    assert after["data"]["sources"][1:] == [{"path": str(resource("samples", file)), "role": "general"}]
    assert apply_preset(SHIPPED["new-knowledge"], after)["data"]["sources"] == after["data"]["sources"]


@pytest.mark.parametrize(("template", "expected"), [(None, "headings"), ("", ""), ("chatml", "chatml")])
def test_a_chat_template_is_the_one_that_suits_the_model(template: str | None, expected: str) -> None:
    assert apply_preset(SHIPPED["base-to-chat"], TABLES, template)["model"]["chat_template"] == expected


def test_an_own_preset_is_saved_renamed_and_deleted_and_holds_no_paths() -> None:
    save_own("我的  预设", TABLES)
    (mine,) = own_presets()
    assert mine.title == "我的 预设"
    assert "/" not in (own_folder() / f"{mine.name}.toml").read_text("utf-8")
    assert "device" not in mine.tables["training"]
    assert apply_preset(mine, {"model": {"path": "/other"}, "data": {"sources": []}})["method"] == TABLES["method"]
    rename_own(mine, "CON")
    assert [one.title for one in own_presets()] == ["CON"]
    delete_own(mine)
    assert own_presets() == []


def test_names_are_unique_and_bounded() -> None:
    save_own("A", TABLES)
    save_own("a!", TABLES)
    first, second = own_presets()
    assert first.name != second.name
    with pytest.raises(ConfigError, match="name already"):
        rename_own(second, "A")
    for title in (" ", "x" * 61, "a\0b"):
        with pytest.raises(ConfigError, match="at most 60 characters"):
            save_own(title, TABLES)


def test_saving_under_the_same_name_replaces() -> None:
    save_own("A", TABLES)
    save_own("A", TABLES | {"method": {"name": "full"}})
    (mine,) = own_presets()
    assert mine.tables["method"] == {"name": "full"}


def test_settings_that_are_wrong_are_not_saved() -> None:
    with pytest.raises(ConfigError, match=r"method\.rank"):
        save_own("A", TABLES | {"method": {"name": "lora", "rank": "many"}})
    assert own_presets() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff\xfe", "cannot be read"),
        (b"[method", "cannot be read"),
        (b"title = 3\n[method]\nname = 'lora'\nrnk = 3\n", "did you mean method.rank"),
        (b"method = 3\n", "method is not a setting of a preset"),
        (b"x = " + b"[" * 9999, "cannot be read"),
        (b"x = " + b"9" * 9999, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_listed_with_the_reason(text: bytes, said: str) -> None:
    own_folder().mkdir()
    (own_folder() / "bad.toml").write_bytes(text)
    (bad,) = own_presets()
    assert said in bad.problem
    delete_own(bad)
    assert own_presets() == []
