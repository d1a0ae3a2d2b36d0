"""One TOML file says everything about a run, and a mistake in it is answered by one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.config import RunConfig, parse_config, read_config, write_config
from studio.config.option import options, values_in_force
from studio.config.run import change_config
from studio.errors import ConfigError

MINIMAL: dict[str, Any] = {"model": {"path": "m"}, "data": {"sources": [{"path": "d.jsonl"}]}}


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_model_and_a_file_are_enough() -> None:
    config = parse_config(MINIMAL)
    assert config.method.name == "lora"
    assert config.precision.name == "auto"
    assert (config.training.epochs, config.training.batch_size, config.training.learning_rate) == (1.0, 8, 2e-4)
    assert (config.data.max_length, config.data.validation_fraction) == (1024, 0.05)


def test_what_is_written_reads_back_equal(tmp_path: Path) -> None:
    config = parse_config(
        MINIMAL | {"method": {"name": "full", "freeze_layers": 2}, "training": {"max_steps": 7, "learning_rate": 3e-6}}
    )
    assert read_config(_write(tmp_path, write_config(config))) == config


def test_a_prompt_template_is_kept_byte_for_byte(tmp_path: Path) -> None:
    template = ' \t"Q":\r\n{question}\u00a0\n\n  {answer}'
    config = parse_config({**MINIMAL, "data": {**MINIMAL["data"], "prompt_template": template}})
    path = tmp_path / "config.toml"
    path.write_bytes(write_config(config).encode())
    assert read_config(path).data.prompt_template == template


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{question}", "{answer} has to stand in it exactly once"),
        ("{answer} {question} {answer}", "{answer} has to stand in it exactly once"),
        ("{question} {answer}\n", "{answer} has to stand at the very end"),
        ("{answer}", "{question} has to stand in it exactly once"),
        ("{question} {question} {answer}", "{question} has to stand in it exactly once"),
        ("{questoin} {answer}", "{questoin} is no placeholder; there are {question}, {answer} and {system}"),
        ("{system}{system}{question}{answer}", "{system} may stand in it only once"),
    ],
)
def test_a_prompt_template_without_its_places_is_refused(template: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({**MINIMAL, "data": {**MINIMAL["data"], "prompt_template": template}})
    assert str(refused.value).startswith(f"data.prompt_template: {reason}")


def test_paths_are_meant_from_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    text = '[model]\npath = "org/name"\n[[data.sources]]\npath = "rows.jsonl"\n'
    config = read_config(_write(tmp_path, text))
    assert config.data.sources[0].path == str(tmp_path / "rows.jsonl")
    assert config.model.path == "org/name"


def test_overrides_replace_single_values(tmp_path: Path) -> None:
    path = _write(tmp_path, '[model]\npath = "m"\n[[data.sources]]\npath = "d"\n')
    config = read_config(
        path, ["training.learning_rate=1e-5", "method.name=full", "data.sources.0.role=general", "model.path=x=y"]
    )
    assert config.training.learning_rate == 1e-5
    assert config.method.name == "full"
    assert config.data.sources[0].role == "general"
    assert config.model.path == "x=y"


def _expect(values: dict[str, Any], *fragments: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(MINIMAL | values)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for fragment in fragments:
        assert fragment in sentence


def test_an_unknown_key_names_the_nearest() -> None:
    _expect({"training": {"learn_rate": 1}}, "training.learn_rate", "training.learning_rate")
    _expect({"method": {"name": "lora", "rnak": 1}}, "method.rnak", "method.rank")
    _expect({"data": {"sources": [{"path": "a", "rolle": "domain"}]}}, "data.sources.0.rolle", "data.sources.0.role")
    _expect({"trainning": {}}, "trainning", "training")


def test_an_unknown_method_or_precision_names_the_known_ones() -> None:
    _expect({"method": {"name": "lorra"}}, "lorra", "lora")
    _expect({"precision": {"name": "bf16"}}, "bf16", "bf16-mixed")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("training", "learning_rate", 0),
        ("training", "learning_rate", -1e-4),
        ("training", "learning_rate", 1e9),
        ("training", "learning_rate", "1e-4x"),
        ("training", "learning_rate", "0,1"),
        ("training", "learning_rate", float("nan")),
        ("training", "epochs", 0),
        ("training", "batch_size", 0),
        ("training", "seed", -1),
        ("training", "seed", 2**64),
        ("training", "device", "gpu"),
        ("training", "warmup_ratio", 1.5),
        ("data", "max_length", 1),
        ("data", "validation_fraction", 1.0),
        ("data", "replay_ratio", 1.0),
        ("precision", "initial_scale", 0),
        ("precision", "growth_factor", 1.0),
    ],
)
def test_nonsense_is_refused_with_the_key_in_the_sentence(section: str, key: str, value: object) -> None:
    _expect({section: MINIMAL.get(section, {}) | {key: value}}, f"{section}.{key}")


@pytest.mark.parametrize(("key", "value"), [("rank", 0), ("alpha", 0), ("dropout", 1.0), ("target_modules", [])])
def test_nonsense_in_a_method_is_refused(key: str, value: object) -> None:
    _expect({"method": {"name": "lora", key: value}}, f"method.{key}")


def test_a_missing_required_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model\.path is required"):
        parse_config({"model": {}, "data": {"sources": [{"path": "d"}]}})


@pytest.mark.parametrize("text", ["[model", "a = ", "\x00"])
def test_a_file_that_is_not_toml_is_one_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_config(_write(tmp_path, text))


def test_a_file_that_is_missing_or_not_utf8_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "none.toml")
    path = tmp_path / "config.toml"
    path.write_bytes("# größe".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_config(path)


def test_every_option_says_what_it_does() -> None:
    config: RunConfig = parse_config(MINIMAL)
    sections = (config.model, config.data, config.data.sources[0], config.method, config.precision, config.training)
    for section in sections:
        for option in options(type(section)):
            assert option.title
            assert len(option.help) > 20, option.key
            assert option.help.endswith("."), option.key


def test_alpha_is_twice_the_rank_until_it_is_set_and_a_run_of_before_keeps_its_own(tmp_path: Path) -> None:
    config = parse_config(MINIMAL | {"method": {"name": "lora", "rank": 8}})
    assert values_in_force(config.method)["alpha"] == 16.0
    again = read_config(_write(tmp_path, write_config(config)))
    assert again == config
    assert values_in_force(again.method)["alpha"] == 16.0
    assert values_in_force(change_config(again, ["method.rank=32"]).method)["alpha"] == 64.0
    before = parse_config(MINIMAL | {"method": {"name": "lora", "rank": 8, "alpha": 32.0}})  # all options were written
    assert values_in_force(change_config(before, ["method.rank=4"]).method)["alpha"] == 32.0
