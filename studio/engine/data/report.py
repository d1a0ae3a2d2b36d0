"""What happened to the rows, counted while they are read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from studio.engine.data.lengths import longer_length
from studio.text.data import remark_text

NEUTRAL = frozenset(
    {
        # How the file is laid out.
        "unwrapped",
        "stored_by_columns",
        "named_rows",
        "message_trees",
        "bare_strings",
        "each_paragraph",
        "each_document",
        "divided",
        # What the rows themselves say of what is to be learnt.
        "assistant_first",
        "unanswered_turn",
        "answers_only_read",
        "best_answer",
        "preference_data",
        "rated_data",
        "bad_answer",
        "not_to_learn",
        "no_learnt_answer",
        # How the chat template is obeyed.
        "rewritten_turns",
        "answer_opens_differently",
        "asked_otherwise",
    }
)
"""Codes of remarks that only say how rows are taken: there is nothing for the user to do."""
NAMED = 5
"""Skipped rows of one reason whose numbers stand in a sentence."""
_KINDS = 20
"""Reasons of one code that are told apart, such as roles that are not known; the others are counted as one."""
_REMEMBERED = 1000
"""Skipped rows of one reason whose numbers are kept, to be shown on request."""


@dataclass(frozen=True)
class Remark:
    """A finding about rows: a code, and the values that its words need. `studio.text.data` has the words."""

    code: str
    values: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, code: str, **values: Any) -> Remark:
        """Return a remark with values, which must be values of JSON."""
        return cls(code, tuple(values.items()))

    @property
    def neutral(self) -> bool:
        """Whether there is nothing for the user to do. Of skipped rows, the reason decides."""
        code = dict(self.values)["reason"] if self.code == "rows_skipped" else self.code
        return code in NEUTRAL

    def text(self) -> str:
        """Return the words in the language of the session."""
        return remark_text(self.code, self.values)

    def to_json(self) -> dict[str, Any]:
        """Return the remark as values of JSON."""
        return {"code": self.code, "values": dict(self.values)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Remark:
        """Read what `to_json` wrote."""
        return cls.of(str(values["code"]), **values["values"])


class RowSkipped(Exception):
    """Nothing can be learnt from a row; the remark says why. The row is skipped and counted.

    `needed` is the `max_length` with which the row could be used; None when its length is not the reason.
    """

    def __init__(self, remark: Remark, needed: int | None = None) -> None:
        super().__init__(remark.code)
        self.remark = remark
        self.needed = needed


@dataclass
class Tally:
    """The counts of one source.

    Attributes:
        rows: all rows read, including the skipped ones.
        skipped: number of skipped rows by reason.
        notes: number of rows by remark, for rows that are used.
        unused: columns that hold something and are not used, with the number of rows that do.
        examples: number and reason of the first skipped rows of each reason, in the order of the file.
        needed: for each row that was too long, the `max_length` with which it could be used.
    """

    rows: int = 0
    skipped: Counter[Remark] = field(default_factory=Counter)
    notes: Counter[Remark] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[int, Remark]] = field(default_factory=list)
    needed: list[int] = field(default_factory=list)

    def skip(self, number: int, reason: RowSkipped) -> None:
        """Count a row as skipped."""
        remark = self._told(reason.remark)
        self.skipped[remark] += 1
        if self.skipped[remark] <= _REMEMBERED:
            self.examples.append((number, remark))
        if reason.needed is not None:
            self.needed.append(reason.needed)

    def add(self, other: Tally) -> None:
        """Add the counts of later rows. Of remarks that differ in the `value` they show alone, the first one stays."""
        shown = {_but_value(note): note for note in self.notes}
        self.rows += other.rows
        for note, count in other.notes.items():
            self.notes[shown.setdefault(_but_value(note), note)] += count
        told: dict[Remark, Remark] = {}
        remembered = Counter({reason: min(count, _REMEMBERED) for reason, count in self.skipped.items()})
        for given, count in other.skipped.items():
            told[given] = self._told(given)
            self.skipped[told[given]] += count
        for number, given in other.examples:
            reason = told[given]
            if remembered[reason] < _REMEMBERED:
                remembered[reason] += 1
                self.examples.append((number, reason))
        self.unused.update(other.unused)
        self.needed += other.needed

    def _told(self, reason: Remark) -> Remark:
        """Return what a reason is counted as: of a code with very many of them, one for the rest."""
        if reason in self.skipped or sum(known.code == reason.code for known in self.skipped) < _KINDS:
            return reason
        return Remark(reason.code, tuple((name, "…") for name, _ in reason.values))

    def problems(self, file: str) -> list[Remark]:
        """Return a remark for each reason to skip rows, and for each note."""
        problems = []
        for reason, count in self.skipped.items():
            numbers = tuple(number for number, remark in self.examples if remark == reason)[:NAMED]
            problems.append(_because("rows_skipped", reason, file=file, count=count, rows=self.rows, numbers=numbers))
        for note, count in self.notes.items():
            values: dict[str, Any] = {**dict(note.values), "file": file, "count": count, "rows": self.rows}
            problems.append(Remark.of(note.code, **values))
        if self.unused:
            problems.append(Remark.of("unused_columns", file=file, columns=tuple(self.unused)))
        return problems

    def to_json(self) -> dict[str, Any]:
        """Return the tally as values of JSON; `from_json` gives back an equal one."""
        return {
            "rows": self.rows,
            "skipped": [(remark.to_json(), count) for remark, count in self.skipped.items()],
            "notes": [(remark.to_json(), count) for remark, count in self.notes.items()],
            "unused": dict(self.unused),
            "examples": [(number, remark.to_json()) for number, remark in self.examples],
            "needed": self.needed,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Tally:
        """Read what `to_json` wrote. Raises `ValueError`, `TypeError` or `KeyError` for anything else."""
        return cls(
            rows=int(values["rows"]),
            skipped=Counter({Remark.from_json(remark): int(count) for remark, count in values["skipped"]}),
            notes=Counter({Remark.from_json(remark): int(count) for remark, count in values["notes"]}),
            unused=Counter({str(name): int(count) for name, count in values["unused"].items()}),
            examples=[(int(number), Remark.from_json(remark)) for number, remark in values["examples"]],
            needed=[int(length) for length in values["needed"]],
        )

    def why_nothing_is_left(self, file: str, max_length: int) -> Remark:
        """Return why no row of a source can be used."""
        if self.rows == 0:
            return Remark.of("no_rows", file=file)
        if len(self.needed) * 2 > self.rows:
            return self._all_too_long(file, max_length)
        reason, count = self.skipped.most_common(1)[0]
        first = next(number for number, remark in self.examples if remark == reason)
        return _because("no_row_teaches", reason, file=file, count=count, rows=self.rows, first=first)

    def _all_too_long(self, file: str, max_length: int) -> Remark:
        lengths = sorted(self.needed)
        return Remark.of(
            "all_too_long",
            file=file,
            limit=max_length,
            shortest=lengths[0],
            longest=lengths[-1],
            median=lengths[len(lengths) // 2],
            suggested=longer_length(lengths, max_length),
        )


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What happened to the rows of a run.

    Attributes:
        rows: rows read, the skipped ones among them.
        skipped: rows by reason.
        problems: what the user should know; training can go on.
        left_out: rows that are left out because of a finding, by its name.
        fingerprints: SHA-256 of each source file, by path.
    """

    rows: int
    skipped: dict[Remark, int]
    problems: tuple[Remark, ...]
    left_out: dict[str, int]
    fingerprints: dict[str, str]


def _but_value(remark: Remark) -> Remark:
    return Remark(remark.code, tuple(pair for pair in remark.values if pair[0] != "value"))


def _because(code: str, reason: Remark, **values: Any) -> Remark:
    """Return a remark that names a reason; the values of the reason are among its own."""
    return Remark.of(code, reason=reason.code, **dict(reason.values), **values)
