"""The programs of others that are installed with this one: their versions, their licences and the texts of these.

All of it is read from what pip has installed, in the form of PEP 639 and of the metadata before it.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from studio import __version__, files
from studio.paths import resource

OURS = "finetune-studio"
SHOWN = ("torch", "transformers", "peft", "tokenizers", "datasets", "safetensors", "gguf", "xllamacpp", "bitsandbytes")
"""The libraries whose versions are told first: what a run computes depends on them."""
_TEXT = re.compile(r"(licen[cs]e|copying|notice|authors)[^/]*$", re.IGNORECASE)
_PAGES = ("homepage", "source", "source code", "repository", "documentation")
_LGPL = ("LGPL-3.0.txt", "GPL-3.0.txt")
MAX_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class Component:
    """One installed program of others. `licence` is its name or its SPDX expression, `page` an address or ""."""

    name: str
    version: str
    licence: str
    page: str


def components(root: str = OURS) -> list[Component]:
    """Return what a program needs and has installed, and what that needs, by name.

    Raises:
        PackageNotFoundError: the program itself was not installed by pip.
    """
    todo, found = needs(distribution(root), {"", "gpu"}), dict[str, Component]()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:  # what another system or card needs
            continue
        if name not in found:
            found[name] = Component(installed.name, installed.version, licence(installed), page(installed))
            todo += needs(installed, requirement.extras or {""})
    return sorted(found.values(), key=lambda one: one.name.lower())


def needs(installed: Distribution, extras: set[str]) -> list[Requirement]:
    """Return what a distribution requires on this system, with these of its extras; "" is without any."""
    requirements = [Requirement(line) for line in installed.requires or []]
    markers = [requirement.marker for requirement in requirements]
    fits = [marker is None or any(marker.evaluate({"extra": extra}) for extra in extras) for marker in markers]
    return [requirement for requirement, here in zip(requirements, fits, strict=True) if here]


def licence(installed: Distribution) -> str:
    """Return the licence that a distribution declares: its SPDX expression, else its words, else its classifiers."""
    metadata = installed.metadata
    for key in ("License-Expression", "License"):
        for words in metadata.get_all(key) or []:
            if words and "\n" not in words:
                return str(words)
    classifiers = metadata.get_all("Classifier") or []
    return ", ".join(line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::"))


def page(installed: Distribution) -> str:
    """Return where a distribution can be read about, with its source."""
    links = [line.partition(", ") for line in installed.metadata.get_all("Project-URL") or []]
    named = {label.lower(): address for label, _, address in links}
    found = [named[label] for label in _PAGES if label in named]
    return next(iter([*(installed.metadata.get_all("Home-page") or []), *found]), "")


def licence_text(component: Component) -> str:
    """Return the texts that lie beside a program; "" where there are none. Raises `OSError`."""
    own = distribution(component.name).files or []
    inside = [each for each in own if ".dist-info" in str(each) and _TEXT.search(str(each))]
    paths = [each.locate() for each in sorted(inside, key=lambda each: (len(each.parts), str(each)))]
    if not paths and "LGPL-3.0" in component.licence:
        paths = [resource("licences", name) for name in _LGPL]
    texts = [files.read_bytes(Path(str(path))).decode(errors="replace").strip() for path in paths]
    return "\n\n\n".join(texts)[:MAX_CHARACTERS]


def versions() -> str:
    """Return the versions that a report about this program should name, one a line. No path and no name is in it."""
    rows = {"Finetune Studio": __version__, "Python": platform.python_version()}
    for name in ("PySide6_Essentials", *SHOWN):
        try:
            rows[name.removesuffix("_Essentials")] = distribution(name).version
        except PackageNotFoundError:
            continue
    rows["System"] = platform.platform()
    width = max(map(len, rows)) + 2
    return "\n".join(f"{name:{width}}{version}" for name, version in rows.items())
