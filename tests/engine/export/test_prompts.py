"""The rows that an export is tried on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.engine.control import no_progress
from studio.engine.export import prompts
from studio.engine.export.source import open_source
from studio.engine.models.load import load_tokenizer
from tests.engine.export.conftest import MakeRun


@pytest.mark.parametrize(("budget", "rows"), [(1024, 8), (512, 4), (100, 3)])
def test_long_rows_are_fewer(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int, rows: int
) -> None:
    monkeypatch.setattr(prompts, "TOKENS_IN_ALL", budget)
    run = make_run()
    long = [{"prompt": f"What is {number}?", "completion": f"{number} " * 200} for number in range(160)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in long), encoding="utf-8")

    source = open_source(run, no_progress)
    chosen = prompts.choose_prompts(source, load_tokenizer(source.base), no_progress)

    assert [len(prompt.ids) for prompt in chosen] == [128] * rows
