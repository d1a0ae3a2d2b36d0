"""What packaging/locked holds: each package that is installed, as it was tested, with the sums of its files."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = (ROOT / "packaging" / "constraints.txt").read_text(encoding="utf-8")
TESTED = {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", CONSTRAINTS, re.M)}
FILES = ("run", "cuda", "gpu", "test")
ENTRY = re.compile(r"([a-z0-9-]+)==(\S+)(?: ; [^\\\n]+)? ((?:\\\n    --hash=sha256:[0-9a-f]{64} ?)+)\n")


def locked(*names: str) -> dict[str, str]:
    texts = [(ROOT / "packaging" / "locked" / f"{name}.txt").read_text(encoding="utf-8") for name in names]
    return {name: version for text in texts for name, version, _ in ENTRY.findall(text)}


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_a_pinned_package_with_its_sums_or_a_comment(name: str) -> None:
    text = (ROOT / "packaging" / "locked" / f"{name}.txt").read_text(encoding="utf-8")
    left = [line for line in ENTRY.sub("", text).splitlines() if not line.startswith("#")]
    assert left == []
    assert ENTRY.search(text)


def test_the_versions_are_the_tested_ones() -> None:
    """`python packaging/lock.py` writes the files again where this fails. torch itself pins its CUDA libraries."""
    found = locked("run", "gpu", "test")
    assert found == {name: TESTED.get(name) for name in found}


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (("run",), [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]),
        (("run", "test"), PROJECT["project"]["optional-dependencies"]["test"]),
        (("run", "gpu", "cuda"), PROJECT["project"]["optional-dependencies"]["gpu"]),
    ],
)
def test_nothing_that_is_needed_here_is_missing(files: tuple[str, ...], wanted: list[str]) -> None:
    """pip installs what the files list and nothing else, so a dependency of a dependency must be there as well."""
    there = set(locked(*files))
    todo, seen = [Requirement(line) for line in wanted], set()
    while todo:
        requirement = todo.pop()
        if requirement.marker is None or requirement.marker.evaluate():
            assert canonicalize_name(requirement.name) in there, requirement
            seen.add(requirement.name)
            todo += [inner for inner in needs(requirement) if inner.name not in seen]


def needs(requirement: Requirement) -> list[Requirement]:
    """What an installed distribution itself requires here; nothing where it is not installed."""
    try:
        inner = [Requirement(line) for line in distribution(requirement.name).requires or []]
    except PackageNotFoundError:  # what only a computer with a card has
        return []
    extras = requirement.extras or {""}
    fits = [each for each in inner if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in extras)]
    for each in fits:
        each.marker = None  # it holds; without the extra it could not be asked again
    return fits
