"""THIRD_PARTY.md names what is installed with the program, as it is today."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from studio.licences import OURS, components, licence_text
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


def test_what_pip_knows_of_the_program_is_what_pyproject_says() -> None:
    """`.venv/bin/pip install --no-deps -e .` tells pip again where this fails; `components` starts from its answer."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    known = [Requirement(line) for line in distribution(OURS).requires or []]
    plain = [one for one in known if one.marker is None or "extra" not in str(one.marker)]
    assert set(map(_plainly, plain)) == {_plainly(Requirement(line)) for line in declared}


def _plainly(one: Requirement) -> tuple[str, SpecifierSet, str]:
    return canonicalize_name(one.name), one.specifier, str(one.marker)


def test_the_versions_are_those_that_are_locked() -> None:
    there = locked("run", "gpu")
    named = {name: version for name, (version, _) in ROWS.items() if name in there and name != "version"}
    assert named == {name: there[name] for name in named}
    assert len(named) > 50


def test_only_programs_that_bring_no_text_are_without_one() -> None:
    assert [one.name for one in components() if not licence_text(one)] == ["tokenizers"]
