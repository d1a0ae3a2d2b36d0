"""Rows from YAML: a list of rows, or the conversations of a ChatterBot corpus file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from studio.engine.data.readers.base import Broken, Row
from studio.engine.data.readers.json_rows import unwrapped
from studio.engine.data.readers.lines import TextFile
from studio.engine.data.report import Remark
from studio.i18n import tr

_MAX_CHARACTERS = 64 * 2**20
"""The whole document is in memory at once, in some ten times its size."""
_MAX_DEPTH = 64


def read_yaml(file: TextFile) -> Iterator[Row | Broken]:
    """Yield the rows of a YAML file. Every scalar is the text that stands in the file; tags have no effect."""
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    parts: list[str] = []
    size = 0
    for block in file.blocks():
        parts.append(block)
        size += len(block)
        if size > _MAX_CHARACTERS:
            what = tr("the file is longer than {limit} MB; write it as JSON Lines")
            yield Broken(1, what.format(limit=_MAX_CHARACTERS // 2**20), fatal=True)
            return
    text = "".join(parts)
    try:
        # Before anything is built: aliases unfold a small file without bound, and building recurses.
        if refused := _refused(yaml, text, loader):
            yield refused
            return
        documents = list(yaml.load_all(text, loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = tr("not valid YAML at column {column} ({problem})")
        column = mark.column + 1 if mark else 1
        yield Broken(mark.line + 1 if mark else 1, what.format(column=column, problem=error.problem), fatal=True)
        return
    except yaml.YAMLError:
        yield Broken(1, tr("the file holds characters that YAML does not allow"), fatal=True)
        return
    rows = (row for document in documents for row in _rows(document))
    yield from unwrapped(Row(number, values, notes) for number, (values, notes) in enumerate(rows, start=1))


def _refused(yaml: Any, text: str, loader: Any) -> Broken | None:
    depth = 0
    for event in yaml.parse(text, loader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            return Broken(line, tr("a YAML alias (*{name}) is not read").format(name=event.anchor), fatal=True)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            return Broken(line, tr("lists are nested more than {limit} deep").format(limit=_MAX_DEPTH), fatal=True)
    return None


def _rows(document: Any) -> Iterator[tuple[dict[str, Any], tuple[Remark, ...]]]:
    if isinstance(document, dict):
        talks = document.get("conversations")
        if not (isinstance(talks, list) and any(isinstance(talk, list) for talk in talks)):
            yield document, ()
            return
        wrapped = Remark.of("unwrapped", key="conversations")
        for talk in talks:
            for turns in _alternatives(talk):
                yield document | {"conversations": turns}, (wrapped,)
        return
    for item in document if isinstance(document, list) else [document]:
        if isinstance(item, dict):
            yield item, ()
        else:
            yield {"conversations" if isinstance(item, list) else "text": item}, ()


def _alternatives(talk: Any) -> Iterator[Any]:
    """Yield the conversations of an entry: one, or one for each answer where a question has a list of them."""
    match talk:
        case [str(question), list(answers)]:
            yield from (_turns([question, answer]) for answer in answers)
        case _:
            yield _turns(talk)


def _turns(talk: Any) -> Any:
    """Return the turns of texts, the user first. Anything else is returned as it is."""
    if not isinstance(talk, list) or not all(isinstance(text, str) for text in talk):
        return talk
    return [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(talk)]
