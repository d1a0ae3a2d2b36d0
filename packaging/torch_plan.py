"""Which build of torch the set-up takes, from where, and what it says about that before."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from programs import ROOT, SetupError

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
    sys.path.insert(0, str(ROOT))  # the table is the program's own; it needs the standard library alone
    from studio import cards, torch_build

    machine = cards.look()
    if machine.system == "darwin" and machine.processor != "arm64":
        raise SetupError("torch has no build for Macs with an Intel processor any more; take another computer.")
    if bundled is not None:
        choice = torch_build.Choice(torch_build.Build(bundled, 0), "this offline bundle holds it")
        return Plan(choice.build, "", (f"The {choice.build.name} build of torch is taken: {choice.reason}.",))
    if cpu:
        choice = torch_build.Choice(torch_build.cpu_build(machine.system), "it was asked for")
    elif cuda is not None:
        build = torch_build.cuda_build(cuda, machine.system)
        if build is None:
            known = ", ".join(torch_build.Build(row.tag, 0).name for row in torch_build.CUDA)
            raise SetupError(f"There is no build of torch for CUDA {cuda} on this system; there are: {known}.")
        choice = torch_build.Choice(build, "it was asked for")
    else:
        choice = torch_build.choose(machine)
    source = (index or torch_build.torch_index()).rstrip("/")
    certain = cpu or cuda is not None or not machine.trouble
    return Plan(choice.build, source, tuple(plan_words(machine, choice, source)), certain)


def plan_words(machine: Machine, choice: Choice, index: str) -> Iterator[str]:
    """Yield what a person should know before the download begins."""
    found = ", ".join(f"{card.name} ({card.capability or card.maker})" for card in machine.cards) or "none"
    driver = f"; NVIDIA driver {machine.driver}" if machine.driver else ""
    yield f"Graphics cards: {found}{driver}."
    build = choice.build
    yield f"The {build.name} build of torch {torch_version()} is taken: {choice.reason}."
    yield from (f"Not used: {card.name}: {reason}." for card, reason in choice.unused if reason != choice.reason)
    yield f"It comes from {f'{index}/{build.tag}' if build.tag else 'the package index of pip'}."
    other = other_download(machine.system, ("run", "gpu") if build.tag.startswith("cu") else ("run",))
    torch, rest, disk = (f"{size / 1e9:.2g} GB" for size in (build.download, other, ON_DISK * (build.download + other)))
    yield f"Download: about {torch} for torch and {rest} for everything else; installed it takes about {disk}."
    starter, unpacked = (f"{size / 1e9:.1f} GB" for size in (STARTER_DOWNLOAD, STARTER_DISK))
    yield f"The starter model comes after that: {starter}, on the disk at most {unpacked}."
    if choice.build.download > 1e9:
        yield "The option --cpu takes the CPU build instead, which is 0.2 GB and trains on the processor."


def other_download(system: str, files: Iterable[str]) -> int:
    """Return the bytes that are downloaded for these files of `LOCKED`, torch apart."""
    sizes = json.loads((LOCKED / "sizes.json").read_text(encoding="utf-8"))
    return sum(sizes[system][name] for name in files)


def torch_version() -> str:
    """Return the tested version of torch."""
    found = re.search(r"^torch==(\S+)", CONSTRAINTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert found is not None, CONSTRAINTS
    return found[1]
