"""Write docs/data-layouts.md: python -m tests.layouts.table"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from studio.config import DataSource
from studio.engine.control import no_progress
from studio.engine.data.examples import OpenSource, open_source
from studio.engine.data.formats.base import Example, Message
from studio.errors import DataError
from tests.layouts.further import FURTHER

CASES = Path(__file__).parent / "cases"
PAGE = Path(__file__).parents[2] / "docs" / "data-layouts.md"
_COLUMNS = ("layout", "format", "read, not learnt", "learnt", "named")
_HEAD = """# Layouts of data

What becomes of small files in the layouts that public datasets use: the format that is recognised, what the model
reads, what it learns (an answer, with its thought where the row has one), and what the Data card names: rows that are
skipped, columns that are not used, and what else there is to know. The first rows are shown; \u23ce is a line break.
`python -m tests.layouts.table` writes this page, and a test keeps it true.
"""
_ROWS = 2


def page() -> str:
    """Return the page."""
    parts = [_HEAD, "## Files that other programs teach wrong\n", *_table(_cases())]
    with tempfile.TemporaryDirectory() as folder:
        parts += ["\n## Further layouts\n", *_table(_further(Path(folder)))]
    return "\n".join(parts) + "\n"


def _cases() -> Iterator[tuple[str, Path]]:
    for path in sorted(path for path in CASES.rglob("*") if path.is_file()):
        yield path.relative_to(CASES).as_posix().removesuffix("/a.jsonl").removesuffix("/a.json"), path


def _further(folder: Path) -> Iterator[tuple[str, Path]]:
    for name, rows in FURTHER.items():
        path = folder / "rows.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        yield name, path


def _table(files: Iterator[tuple[str, Path]]) -> Iterator[str]:
    yield "| " + " | ".join(_COLUMNS) + " |"
    yield "|---" * len(_COLUMNS) + "|"
    for name, path in files:
        yield "| " + " | ".join(map(_cell, (name, *describe(path)))) + " |"


def describe(path: Path) -> tuple[str, str, str, str]:
    """Return the format of a file, what is read and what is learnt of its first rows, and what is named."""
    try:
        source = open_source(DataSource(path=str(path)), no_progress)
        examples = [example for _, example in source.examples()]
    except DataError as error:
        return "refused", "", "", str(error).replace(str(path), path.name)
    shown = examples[:_ROWS]
    read, learnt = "\n".join(map(_read, shown)), "\n".join(map(_learnt, shown))
    return source.format.name, read, learnt, _named(source, path)


def _read(example: Example) -> str:
    if not example.messages:
        return " ".join(piece.text for piece in example.pieces if not piece.learnt)
    return " / ".join(f"{m.role}: {m.content}" for m in example.messages if not _is_learnt(m))


def _learnt(example: Example) -> str:
    if not example.messages:
        return " ".join(piece.text for piece in example.pieces if piece.learnt)
    return " / ".join(_answer(message) for message in example.messages if _is_learnt(message))


def _is_learnt(message: Message) -> bool:
    return message.role == "assistant" and message.learnt


def _answer(message: Message) -> str:
    return f"(thought: {message.thought}) {message.content}" if message.thought else message.content


def _named(source: OpenSource, path: Path) -> str:
    problems: Sequence[str] = [
        problem.text().replace(str(path), path.name) for problem in source.tally.problems(str(path))
    ]
    return "\n".join(problems)


def _cell(text: str) -> str:
    shown = text.strip().replace("\n", " \u23ce ").replace("|", "\\|").replace("<", "&lt;")
    return " ".join(shown.split())


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
