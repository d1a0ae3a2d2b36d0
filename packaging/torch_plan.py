"""Which build of torch the set-up takes, from where, and what it says about that before."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from programs import ROOT, SetupError

from studio.i18n import tr

if TYPE_CHECKING:
    from studio.cards import Machine
    from studio.torch_build import Build, Choice

CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
LOCKED = ROOT / "packaging" / "locked"  # written by lock.py: the same versions with the sums of their files
ON_DISK = 3.9  # bytes installed for each byte of a wheel, measured with the CPU build on Linux
STARTER_DOWNLOAD, STARTER_DISK = 270_000_000, 540_000_000


@dataclass(frozen=True)
class Plan:
    """The build of torch that is to be installed, from where, and what is said before.

    `certain` is false where a card does not answer: what is installed then stays until it does.
    """

    build: Build
    index: str
    words: tuple[str, ...] = ()
    certain: bool = True

    @property
    def extras(self) -> tuple[str, ...]:
        """What an NVIDIA card needs beside torch."""
        return ("gpu",) if self.build.tag.startswith("cu") else ()


def choose_torch(cpu: bool, cuda: str | None, index: str | None, bundled: str | None = None) -> Plan:
    """Look at this computer and decide.

    Args:
        cpu, cuda: what the user decided instead.
        index: where builds of torch are; the user's mirror or PyTorch's own index where it is not given.
        bundled: the tag of the build that an offline bundle holds.
    """
    from studio import cards, torch_build

    machine = cards.look()
    if machine.system == "darwin" and machine.processor != "arm64":
        raise SetupError(tr("torch has no build for Macs with an Intel processor any more; take another computer."))
    if bundled is not None:
        choice = torch_build.Choice(torch_build.Build(bundled, 0), tr("this offline bundle holds it"))
        return Plan(choice.build, "", (_taken(choice),))
    if cpu:
        choice = torch_build.Choice(torch_build.cpu_build(machine.system), tr("it was asked for"))
    elif cuda is not None:
        build = torch_build.cuda_build(cuda, machine.system)
        if build is None:
            known = tr(", ").join(torch_build.Build(row.tag, 0).name for row in torch_build.CUDA)
            words = tr("There is no build of torch for CUDA {version} on this system; there are: {known}.")
            raise SetupError(words.format(version=cuda, known=known))
        choice = torch_build.Choice(build, tr("it was asked for"))
    else:
        choice = torch_build.choose(machine)
    source = (index or torch_build.torch_index()).rstrip("/")
    certain = cpu or cuda is not None or not machine.trouble
    return Plan(choice.build, source, tuple(plan_words(machine, choice, source)), certain)


def plan_words(machine: Machine, choice: Choice, index: str) -> Iterator[str]:
    """Yield what a person should know before the download begins."""
    found = tr(", ").join(f"{card.name} ({card.capability or card.maker})" for card in machine.cards) or tr("none")
    if machine.driver:
        words = tr("Graphics cards: {cards}; NVIDIA driver {driver}.")
        yield words.format(cards=found, driver=machine.driver)
    else:
        yield tr("Graphics cards: {cards}.").format(cards=found)
    build = choice.build
    yield _taken(choice)
    for card, reason in choice.unused:
        if reason != choice.reason:
            yield tr("Not used: {card}: {reason}.").format(card=card.name, reason=reason)
    source = f"{index}/{build.tag}" if build.tag else tr("the package index of pip")
    yield tr("It comes from {source}.").format(source=source)
    other = other_download(machine.system, ("run", "gpu") if build.tag.startswith("cu") else ("run",))
    torch, rest, disk = (f"{size / 1e9:.2g} GB" for size in (build.download, other, ON_DISK * (build.download + other)))
    words = tr("Download: about {torch} for torch and {rest} for everything else; installed it takes about {disk}.")
    yield words.format(torch=torch, rest=rest, disk=disk)
    starter, unpacked = (f"{size / 1e9:.1f} GB" for size in (STARTER_DOWNLOAD, STARTER_DISK))
    words = tr("The starter model comes after that: {download}, on the disk at most {unpacked}.")
    yield words.format(download=starter, unpacked=unpacked)
    if choice.build.download > 1e9:
        yield tr("The option --cpu takes the CPU build instead, which is 0.2 GB and trains on the processor.")


def _taken(choice: Choice) -> str:
    words = tr("The {build} build of torch {version} is taken: {reason}.")
    return words.format(build=choice.build.name, version=torch_version(), reason=choice.reason)


def other_download(system: str, files: Iterable[str]) -> int:
    """Return the bytes that are downloaded for these files of `LOCKED`, torch apart."""
    sizes = json.loads((LOCKED / "sizes.json").read_text(encoding="utf-8"))
    return sum(sizes[system][name] for name in files)


def torch_version() -> str:
    """Return the tested version of torch."""
    found = re.search(r"^torch==(\S+)", CONSTRAINTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert found is not None, CONSTRAINTS
    return found[1]
