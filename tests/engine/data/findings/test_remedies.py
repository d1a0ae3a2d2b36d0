"""Every finding has words, and every remedy changes the configuration as its button says."""

from __future__ import annotations

from typing import get_args

import pytest

from studio.config import DataConfig, DataSource
from studio.config.data import LeaveOut
from studio.engine.data.findings.base import ROWS, Remedy, finding
from studio.text import findings

CONFIG = DataConfig(sources=(DataSource(path="a.jsonl"),))


def test_what_can_be_left_out_are_findings() -> None:
    assert set(get_args(LeaveOut)) < set(findings.FINDINGS) == set(findings.TITLES)


def test_a_remedy_leaves_rows_out_beside_those_that_are_left_out_already() -> None:
    once = Remedy("drop_repeats", "leave_out", "duplicates").apply(CONFIG)
    twice = Remedy("drop_rows", "leave_out", "placeholders").apply(once)
    assert twice.leave_out == ("duplicates", "placeholders")
    assert Remedy("drop_repeats", "leave_out", "duplicates").apply(twice) == twice


def test_a_remedy_raises_the_longest_row() -> None:
    remedy = Remedy("raise_max_length", "max_length", 2048)
    assert remedy.apply(CONFIG).max_length == 2048
    assert "2,048" in remedy.text()


def test_a_remedy_that_is_no_value_of_the_option_is_refused() -> None:
    with pytest.raises(ValueError, match="leave_out"):
        Remedy("drop_rows", "leave_out", "truncated").apply(CONFIG)


def test_a_finding_counts_all_rows_and_keeps_the_first_numbers() -> None:
    found = finding("duplicates", range(5000), None)
    assert (found.count, len(found.rows), found.rows[-1]) == (5000, ROWS, ROWS - 1)
    assert found.meaning().startswith("5000 rows")
