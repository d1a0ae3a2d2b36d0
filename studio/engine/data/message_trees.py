"""Conversations from rows that are one message each, which names the message that it answers (OpenAssistant, 2023)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from studio.engine.data.formats.marks import is_filled
from studio.engine.data.readers.base import Row
from studio.engine.data.report import Remark, RowSkipped, Tally

_KEYS = ("message_id", "parent_id", "role", "text")
_READ = (*_KEYS, "message_tree_id", "rank")
TREE = Remark("message_trees")


def is_tree(names: Collection[str]) -> bool:
    """Return whether a table with these columns holds the messages of trees."""
    return all(key in names for key in _KEYS)


def conversations(rows: Iterable[Row], tally: Tally) -> Iterator[Row]:
    """Yield a row for each tree: the way from its first message along the best-ranked replies.

    The messages of a tree must follow each other, its first one first; a message whose parent is not among those
    before it in its tree is skipped. `tally` has counted the messages as rows; it counts the conversations then.
    """
    tree: dict[str, list[Row]] = {}
    first: Row | None = None
    for row in rows:
        if not is_filled(row.values.get("parent_id")):
            if first is not None:
                yield _best(first, tree, tally)
            first, tree = row, {str(row.values.get("message_id")): []}
        elif str(row.values["parent_id"]) in tree:
            tally.rows -= 1
            tree[str(row.values["parent_id"])].append(row)
            tree[str(row.values.get("message_id"))] = []
        else:
            tally.skip(row.number, RowSkipped(Remark("lost_parent")))
    if first is not None:
        yield _best(first, tree, tally)


def _best(first: Row, tree: dict[str, list[Row]], tally: Tally) -> Row:
    """Return the conversation of a tree, numbered as its first message."""
    tally.notes[TREE] += 1
    way, replies = [first], [first]
    while replies := tree[str(way[-1].values.get("message_id"))]:
        way.append(min(replies, key=lambda reply: (_rank(reply), not tree[str(reply.values.get("message_id"))])))
    beside = {name: value for name, value in first.values.items() if name not in _READ}
    turns: list[dict[str, Any]] = [{"role": one.values.get("role"), "content": one.values.get("text")} for one in way]
    return Row(first.number, {"messages": turns, **beside}, first.notes)


def _rank(reply: Row) -> float:
    """Return the place of a reply among its neighbours, 0 for the best; those without one come last."""
    try:
        return float(reply.values.get("rank", "inf"))
    except (TypeError, ValueError):
        return float("inf")
