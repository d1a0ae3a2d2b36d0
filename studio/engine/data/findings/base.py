"""A finding: what is wrong with some rows of the data, how many, which, and what removes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from studio.config import DataConfig
from studio.text.findings import finding_text, finding_title, remedy_text

Values: TypeAlias = tuple[tuple[str, Any], ...]

ROWS = 1000
"""Row numbers that a finding keeps at most."""


@dataclass(frozen=True)
class Remedy:
    """A change of the configuration that removes a finding; a button can apply it.

    Attributes:
        code: drop_repeats, drop_rows, skip_empty_answers, raise_max_length or move_out_of_validation; the words of the
            button are in `studio.text.findings`.
        key: the option of `[data]` that changes: max_length or leave_out.
        value: its new value; the name that is added to the list, for leave_out.
    """

    code: str
    key: str
    value: int | str

    def apply(self, config: DataConfig) -> DataConfig:
        """Return the configuration with the change."""
        value: Any = self.value
        if self.key == "leave_out":
            value = tuple(dict.fromkeys((*config.leave_out, value)))
        return DataConfig.model_validate(config.model_dump() | {self.key: value})

    def text(self) -> str:
        """Return what a button that applies it says, in the language of the session."""
        return remedy_text(self.code, {"value": self.value})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of fault in the rows of a file or of a run.

    Attributes:
        name: its code; the words are in `studio.text.findings`.
        count: rows that have it.
        rows: the numbers of the first of them (line or position in the file, from 1), at most `ROWS`.
        values: what the words need beside the count.
        remedy: the change of the configuration that removes it; None where there is none.
    """

    name: str
    count: int
    rows: tuple[int, ...]
    values: Values = ()
    remedy: Remedy | None = None

    @property
    def title(self) -> str:
        """What it is called, in the language of the session."""
        return finding_title(self.name)

    def meaning(self) -> str:
        """Return what it means, in the language of the session."""
        return finding_text(self.name, {**dict(self.values), "count": self.count})

    def to_json(self) -> dict[str, Any]:
        """Return name, count and values as values of JSON, without the rows."""
        return {"name": self.name, "count": self.count, "values": dict(self.values)}


def finding(name: str, rows: Sequence[int], remedy: Remedy | None = None, **values: Any) -> Finding:
    """Return a finding about rows, all of whose numbers are given."""
    return Finding(name=name, count=len(rows), rows=tuple(rows[:ROWS]), values=tuple(values.items()), remedy=remedy)
