"""Which build of torch uses the cards of a computer, and which cards the installed build cannot use.

The one table of builds, with the standard library alone: the set-up script reads it before anything is installed.
Builds and what they run are those of torch 2.12 to 2.14 (PyTorch, RELEASE.md, "PyTorch CUDA Support Matrix");
the drivers are those of NVIDIA's "CUDA Compatibility", minor version compatibility.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from studio.cards import Card, Machine
from studio.i18n import tr

INDEX_VARIABLE = "FINETUNE_STUDIO_TORCH_INDEX"
DEFAULT_INDEX = "https://download.pytorch.org/whl"
GB = 10**9
PYPI = ""  # the tag of the build that pip's own index has


@dataclass(frozen=True)
class Build:
    """One build of torch. `tag` ends its version and its index: "cu126" is torch 2.13.0+cu126 at INDEX/cu126.

    `download` is in bytes, with the libraries that come along.
    """

    tag: str
    download: int

    @property
    def name(self) -> str:
        """What people call it."""
        if self.tag.startswith("cu"):
            return f"CUDA {self.tag[2:-1]}.{self.tag[-1]}"
        return f"ROCm {self.tag[4:]}" if self.tag.startswith("rocm") else "CPU"


@dataclass(frozen=True)
class Cuda:
    """What a CUDA build needs and runs.

    `driver`: the oldest branch of NVIDIA's driver by system. `capabilities`: the oldest card and the first one that is
    too new, on x86_64; builds for Arm begin with 8.0. `download`: bytes by system.
    """

    tag: str
    driver: dict[str, int]
    capabilities: tuple[tuple[int, int], tuple[int, int]]
    download: dict[str, int]

    def runs(self, card: Card, processor: str) -> bool:
        """Return whether the build has programs for a card; one whose capability is not told gets the doubt."""
        if not card.capability:
            return True
        oldest, too_new = self.capabilities
        if processor == "arm64":
            oldest = max(oldest, (8, 0))
        return oldest <= version(card.capability) < too_new

    def starts(self, machine: Machine) -> bool:
        """Return whether the driver is new enough."""
        return version(machine.driver)[:1] >= (self.driver[machine.system],)


# The best first. Sizes: Windows from the wheels themselves; Linux 13.0 is the sum of what pip downloads. Linux 12.6,
# ROCm and 13.2 are estimates from their neighbours.
CUDA = (
    Cuda("cu130", {"linux": 580, "win32": 580}, ((7, 5), (13, 0)), {"linux": 2_720_000_000, "win32": 1_916_000_000}),
    # The last builds for Maxwell, Pascal and Volta, and the only ones for drivers before 580. None for Blackwell.
    Cuda("cu126", {"linux": 525, "win32": 528}, ((5, 0), (10, 0)), {"linux": 3_400_000_000, "win32": 2_595_000_000}),
    Cuda("cu132", {"linux": 580, "win32": 580}, ((7, 5), (13, 0)), {"linux": 2_720_000_000, "win32": 1_916_000_000}),
)
ROCM = Build("rocm7.2", 5 * GB)
# fmt: off
ROCM_CARDS = frozenset((
    "gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx950", "gfx1030", "gfx1100", "gfx1101", "gfx1102", "gfx1103",
    "gfx1150", "gfx1151", "gfx1200", "gfx1201",
))
# fmt: on
CPU_DOWNLOAD = {"linux": 192_000_000, "win32": 122_000_000, "darwin": 111_000_000}


@dataclass(frozen=True)
class Choice:
    """The build that is to be installed, why, and the cards that it leaves unused, each with a reason."""

    build: Build
    reason: str
    unused: tuple[tuple[Card, str], ...] = ()


def version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version: "580.65.06" is (580, 65, 6)."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def cpu_build(system: str) -> Build:
    """Return the build without any card: pip's own wheel but on Linux, where that is the largest of all."""
    return Build("cpu" if system == "linux" else PYPI, CPU_DOWNLOAD.get(system, CPU_DOWNLOAD["linux"]))


def cuda_build(wanted: str, system: str) -> Build | None:
    """Return the CUDA build called "12.6", "126" or "cu126", or None where there is none."""
    tag = "cu" + "".join(re.findall(r"\d", wanted))
    return next((Build(row.tag, row.download[system]) for row in CUDA if row.tag == tag and system in row.driver), None)


def choose(machine: Machine) -> Choice:
    """Return the build of torch that uses the cards of a computer: NVIDIA's before AMD's, else the processor's."""
    cpu = cpu_build(machine.system)
    if machine.of("nvidia"):
        return _choose_cuda(machine, cpu)
    if machine.trouble:
        words = tr("the NVIDIA card does not answer ({trouble}); mend its driver and give the same command again")
        return Choice(cpu, words.format(trouble=machine.trouble))
    if amd := machine.of("amd"):
        return _choose_rocm(machine, amd, cpu)
    if machine.of("apple"):
        return Choice(cpu, tr("it uses Apple's graphics processor"))
    return Choice(cpu, tr("no graphics card that torch can use was found"))


def _choose_cuda(machine: Machine, cpu: Build) -> Choice:
    """The build that runs most of the cards; of two alike, the newer."""
    cards = machine.of("nvidia")
    rows = CUDA if machine.system in CUDA[0].driver and not _windows_on_arm(machine) else ()
    best, served = None, 0
    for row in rows:
        count = sum(row.runs(card, machine.processor) for card in cards) if row.starts(machine) else 0
        if count > served:
            best, served = row, count
    if best is None:
        unused = tuple((card, _why_not(card, machine)) for card in cards)
        return Choice(cpu, unused[0][1], unused)
    names = tr(", ").join(card.name for card in cards if best.runs(card, machine.processor))
    return Choice(
        Build(best.tag, best.download[machine.system]),
        tr("it uses {cards} with driver {driver}").format(cards=names, driver=machine.driver),
        tuple((card, _why_not(card, machine, best)) for card in cards if not best.runs(card, machine.processor)),
    )


def _windows_on_arm(machine: Machine) -> bool:
    return machine.system == "win32" and machine.processor == "arm64"


def _why_not(card: Card, machine: Machine, taken: Cuda | None = None) -> str:
    """Why no build, or not the one that was taken, runs a card: in a sentence that says what to do."""
    fitting = [row for row in CUDA if row.runs(card, machine.processor)]
    if machine.system not in CUDA[0].driver or _windows_on_arm(machine) or not fitting:
        return tr("torch has no build for {card} on this system").format(card=card.name)
    if any(row.starts(machine) for row in fitting):
        assert taken is not None
        words = tr("{card} and the other cards need different builds of torch, and {build} was taken")
        return words.format(card=card.name, build=Build(taken.tag, 0).name)
    oldest = min(row.driver[machine.system] for row in fitting)
    words = tr("the NVIDIA driver {driver} is too old for {card}: install version {oldest} or later")
    return words.format(driver=machine.driver, card=card.name, oldest=oldest)


def _choose_rocm(machine: Machine, cards: tuple[Card, ...], cpu: Build) -> Choice:
    served = [card for card in cards if card.capability in ROCM_CARDS]
    words = tr("torch has no build for {card} on this system")
    unused = tuple((card, words.format(card=card.name)) for card in cards if card not in served)
    if not served or (machine.system, machine.processor) != ("linux", "x86_64"):
        return Choice(cpu, words.format(card=cards[0].name), unused)
    return Choice(ROCM, tr("it uses {cards}").format(cards=tr(", ").join(card.name for card in served)), unused)


# --- what is installed -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Installed:
    """The installed torch: its version without the build, such as "2.13.0", and the tag of its build."""

    version: str
    tag: str


@dataclass(frozen=True)
class UnusedCard:
    """A card that training cannot use, why, and the one command that mends it, or "" where no command does."""

    name: str
    reason: str
    command: str


def installed_torch() -> Installed | None:
    """Return which torch is installed, without importing it, which takes seconds; None where there is none."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    return parse_torch_version(text)


def parse_torch_version(text: str) -> Installed | None:
    """Return what `torch/version.py` says: the build in its version, or the CUDA and HIP that it was built with."""
    values = dict(re.findall(r"^(__version__|cuda|hip)\b[^=\n]*= *'([^']*)'", text, flags=re.MULTILINE))
    if "__version__" not in values:
        return None
    number, _, tag = values["__version__"].partition("+")
    if not re.match(r"cpu|cu\d|rocm", tag):  # a build of a distribution, say
        cuda, hip = (version(values.get(name, ""))[:2] for name in ("cuda", "hip"))
        tag = f"cu{''.join(map(str, cuda))}" if cuda else f"rocm{'.'.join(map(str, hip))}" if hip else "cpu"
    return Installed(number, tag)


def unused_cards(machine: Machine, installed: Installed, python: str, index: str) -> tuple[UnusedCard, ...]:
    """Return the cards that the installed torch cannot use although they are there.

    A build that the table does not know is trusted: it may be newer than the table.

    Args:
        python: the program whose torch is to be mended.
        index: where builds of torch are, below it a folder for each.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return ()  # the user hides them
    choice = choose(machine)
    reasons = dict(choice.unused)
    words = tr("the installed torch ({version}+{tag}) cannot use it, and the {build} build can")
    fits = words.format(version=installed.version, tag=installed.tag, build=choice.build.name)
    command = install_command(python, installed.version, choice.build, index)
    cards = machine.of("nvidia") or (machine.of("amd") if choice.build is ROCM else ())
    found = [
        UnusedCard(card.name, reasons.get(card, fits), "" if card in reasons else command)
        for card in cards
        if not _uses(installed, card, machine)
    ]
    if machine.trouble and not machine.of("nvidia"):
        found.append(UnusedCard("NVIDIA", machine.trouble, ""))
    return tuple(found)


def _uses(installed: Installed, card: Card, machine: Machine) -> bool:
    row = next((row for row in CUDA if row.tag == installed.tag), None)
    if card.maker == "amd":
        return installed.tag.startswith("rocm") and card.capability in ROCM_CARDS
    if row is not None and machine.system in row.driver:
        return row.starts(machine) and row.runs(card, machine.processor)
    return installed.tag.startswith("cu")


def torch_index() -> str:
    """Return where builds of torch are fetched: the user's mirror, or PyTorch's own index."""
    return (os.environ.get(INDEX_VARIABLE, "").strip() or DEFAULT_INDEX).rstrip("/")


def install_command(python: str, number: str, build: Build, index: str) -> str:
    """Return the command that puts a build in place of the one that is installed, as a shell reads it."""
    return subprocess.list2cmdline([python, "-m", "pip", "install", *requirement(number, build, index)])


def requirement(number: str, build: Build, index: str) -> list[str]:
    """Return pip's arguments for one build of torch."""
    if build.tag == PYPI:
        return [f"torch=={number}"]
    return ["--extra-index-url", f"{index}/{build.tag}", f"torch=={number}+{build.tag}"]
