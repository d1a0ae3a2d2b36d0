"""THIRD_PARTY.md names what is installed with the program, as it is today."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.utils import canonicalize_name

from studio.licences import components, licence_text
from tests.packaging.test_lock import locked

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
ROWS = {
    canonicalize_name(row[0]): row[1:] for row in re.findall(r"^\| (\S+) \| (\S+) \| ([^|]+) \|", TEXT, re.MULTILINE)
}


def test_everything_that_is_installed_is_named_with_version_and_licence() -> None:
    """`.venv/bin/python packaging/licences.py` writes the file again where this fails."""
    for one in components():
        name = canonicalize_name(one.name)
        assert one.licence, name
        assert ROWS.get(name) == (one.version.partition("+")[0], one.licence)


def test_the_versions_are_those_that_are_locked() -> None:
    there = locked("run", "gpu")
    named = {name: version for name, (version, _) in ROWS.items() if name in there and name != "version"}
    assert named == {name: there[name] for name in named}
    assert len(named) > 50


def test_only_programs_that_bring_no_text_are_without_one() -> None:
    assert [one.name for one in components() if not licence_text(one)] == ["tokenizers"]
