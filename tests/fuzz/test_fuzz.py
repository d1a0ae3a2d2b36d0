"""Some hundreds of damaged and hostile files. `python -m tests.fuzz.fuzz` tries twenty thousand."""

from __future__ import annotations

import logging

import pytest

from tests.fuzz.fuzz import KINDS, fuzz


def test_no_damaged_file_is_met_with_anything_but_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    report = fuzz(500, seed=13, seconds=30)
    assert not report.findings
    assert all(report.tried[name] and report.refused[name] for name in KINDS if name != "journal")
