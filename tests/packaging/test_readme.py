"""What the README tells people to type is true, in both languages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from studio.cli import main
from studio.config import parse_config

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.zh-CN.md")


def blocks(readme: str, language: str) -> list[str]:
    text = (ROOT / readme).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("readme", READMES)
def test_the_example_configuration_is_valid_and_its_dataset_exists(readme: str) -> None:
    (example,) = blocks(readme, "toml")
    config = parse_config(tomllib.loads(example))
    assert (ROOT / config.data.sources[0].path).is_file()


@pytest.mark.parametrize("readme", READMES)
def test_the_table_names_every_command(readme: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^ {4}([a-z-]+)(?: {2}|$)", capsys.readouterr().out, re.MULTILINE)
    table = re.findall(r"^\| `([a-z-]+)[ `]", (ROOT / readme).read_text(encoding="utf-8"), re.MULTILINE)
    assert set(commands) == set(table) - {"finetune-studio"}


def test_both_languages_give_the_same_commands() -> None:
    english, chinese = (
        [line.partition("#")[0].strip() for block in blocks(readme, "sh") for line in block.splitlines()]
        for readme in READMES
    )
    assert english == chinese


@pytest.mark.parametrize("readme", READMES)
def test_every_file_that_is_linked_exists(readme: str) -> None:
    links = re.findall(r"\]\(([^):]+)\)", (ROOT / readme).read_text(encoding="utf-8"))
    assert links
    assert not [link for link in links if not (ROOT / link).is_file()]
