"""Files are read through `studio.files`, which refuses pipes, devices, folders and what is far too long.

Any other way to read a file stands here by name, with the reason why no stranger's file is read so.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
STUDIO = ROOT / "studio"
READERS = {
    "open",
    "read_text",
    "read_bytes",
    "safe_open",
    "load_file",
    "from_file",
    "fromfile",
    "GGUFReader",
    "ZipFile",
}
READERS |= {"memory_map", "memmap", "mmap"}
WRITING = set("wax+")
# Modules that have safe readers of these names.
SAFE = {"studio.files", "studio.engine.data.readers.text_rows"}

SHIPPED = "a file that ships with the program"
SYSTEM = "a file of the operating system, or of the Python that runs"
OWN = "what this process, or its parent, has just written"
CHECKED = "its header, size or SHA-256 was read through the safe readers before"
NO_WAIT = "the flags of the system call keep it from waiting, and what it opens is looked at"
# By module: how many calls, and why.
DIRECT: dict[str, tuple[int, str]] = {
    "cards.py": (2, SYSTEM),
    "commands/console.py": (1, SYSTEM),
    "engine/adapters/files.py": (1, CHECKED),
    "engine/data/tokenise.py": (2, CHECKED),
    "engine/data/workers.py": (1, OWN),
    "engine/device.py": (1, SYSTEM),
    "engine/export/bottleneck_loader.py": (4, "a program that leaves with an export and imports nothing of ours"),
    "engine/export/gguf/asking.py": (1, OWN),
    "engine/export/gguf/convert.py": (1, CHECKED),
    "engine/export/gguf/layout.py": (1, CHECKED),
    "engine/export/gguf/vocabulary.py": (1, CHECKED),
    "engine/export/gguf/written.py": (2, OWN),
    "engine/export/stored.py": (1, CHECKED),
    "engine/export/targets/bundle.py": (1, SHIPPED),
    "engine/export/verify.py": (1, CHECKED),
    "engine/inference/prompts.py": (1, SHIPPED),
    "engine/methods/_pissa.py": (2, OWN),
    "engine/methods/peft_files.py": (1, CHECKED),
    "engine/models/starter/convert.py": (1, CHECKED),
    "engine/models/starter/wheel.py": (2, CHECKED),
    "engine/models/template_offers.py": (1, CHECKED),
    "engine/models/tokenizer_files.py": (1, CHECKED),
    "engine/probe/measure.py": (1, OWN),
    "engine/training/checkpoint.py": (2, CHECKED),
    "engine/training/probes.py": (1, SHIPPED),
    "engine/training/resume.py": (1, CHECKED),
    "engine/training/retention_watch.py": (1, OWN),
    "files.py": (3, "the safe readers themselves"),
    "runner/bug_report.py": (1, "a zip that is written, not read"),
    "runner/laboratory.py": (1, SHIPPED),
    "runner/process.py": (1, SYSTEM),
    "runner/self_test.py": (1, SHIPPED),
    "runs/files.py": (2, "`open_own`, which writes, and a folder, for fsync"),
    "runs/lock.py": (3, "a folder, for its lock, and files of the operating system"),
    "runs/tail.py": (1, NO_WAIT),
    "torch_build.py": (1, SYSTEM),
    "ui/icons.py": (1, SHIPPED),
    "ui/theme.py": (1, SHIPPED),
}


def test_every_file_of_a_stranger_is_read_through_the_safe_readers() -> None:
    found = {
        file.relative_to(STUDIO).as_posix(): reads
        for file in sorted(STUDIO.rglob("*.py"))
        if (reads := list(direct_reads(file)))
    }
    allowed = {place: count for place, (count, _) in DIRECT.items()}
    wrong = [
        f"{place}: {reads}, where {allowed.get(place, 0)} are allowed"
        for place, reads in found.items()
        if len(reads) != allowed.get(place, 0)
    ]
    wrong += [f"{place}: nothing is read directly any more" for place in allowed.keys() - found.keys()]
    assert not wrong, "\n".join(wrong)


def direct_reads(file: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    safe = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in SAFE
        for alias in node.names
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name not in READERS or owner == "files" or (not owner and name in safe):
            continue
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        if name == "open" and (not (node.args or node.keywords) or any(WRITING & set(mode) for mode in modes)):
            continue  # a dialog, or a file that is written
        yield node.lineno, name
