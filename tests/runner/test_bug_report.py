"""A report has what is needed to find a problem, and no data, no tokens and no paths of the user."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from studio.config import parse_config, write_config
from studio.errors import StudioError
from studio.runner.bug_report import CONTENTS, hidden, without_data, write_bundle
from studio.runs import RunFolder, create_run

SECRET = "hf_" + "a1B2" * 8


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(tmp_path))
    config = parse_config(
        {
            "model": {"path": "/secret place/models/Mine"},
            "data": {
                "sources": [{"path": "/secret place/rows.jsonl"}],
                "prompt_template": "PRIVATE {question}{answer}",
            },
            "method": {"name": "prompt-tuning", "init": "text", "init_text": "PRIVATE words"},
            "retention": {"prompts": ["PRIVATE question"]},
        }
    )
    folder = create_run(tmp_path / "runs", "one", write_config(config))
    folder.log.write_text(f"opened https://me:pass@host/x?token=abc {SECRET}\n")
    folder.journal.write_text('{"type": "prompts_answered", "answers": ["PRIVATE"]}\n')
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "studio.log").write_text(f"{Path.home()}/x failed\n")
    return folder


def test_the_bundle_has_log_versions_and_settings_and_nothing_private(run: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "report.zip"
    names = write_bundle(file, "GPU none", run)
    assert names == [name for name in CONTENTS if name != "run/process.log"]
    with zipfile.ZipFile(file) as bundle:
        assert bundle.namelist() == names
        texts = {name: bundle.read(name).decode() for name in names}
    assert texts["doctor.txt"] == "GPU none"
    assert "Python" in texts["versions.txt"]
    assert texts["studio.log"] == "~/x failed\n"
    assert 'name = "prompt-tuning"' in texts["run/config.toml"]
    assert 'path = "rows.jsonl"' in texts["run/config.toml"]
    whole = "\n".join(texts.values())
    assert not [word for word in ("PRIVATE", "secret place", SECRET, "me:pass", "token=abc") if word in whole]
    assert [path.name for path in file.parent.iterdir()] == ["report.zip"]


def test_a_damaged_run_is_left_out_and_the_rest_is_there(run: RunFolder, tmp_path: Path) -> None:
    run.config.write_bytes(b"\xff[")
    assert "run/config.toml" not in write_bundle(tmp_path / "r.zip", "", run)
    assert "run/state.json" in write_bundle(tmp_path / "r.zip", "", run)


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StudioError, match="cannot be written"):
        write_bundle(tmp_path / "file" / "r.zip", "", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abcdefghij", "Authorization: Bearer (hidden)"),
        ("ghp_0123456789abcdef", "ghp_(hidden)"),
        ("a my-own-token-value b", "a (hidden) b"),
        ("tokens/s 1200, token 7", "tokens/s 1200, token 7"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, expected: str) -> None:
    assert hidden(text, {"MY_TOKEN": "my-own-token-value", "TOKENIZERS_PARALLELISM": "false"}) == expected


def test_ids_of_the_hub_stay_whole() -> None:
    told = without_data({"model": {"path": "owner/name"}, "data": {"sources": [{"path": r"C:\Users\me\rows.csv"}]}})
    assert told == {"model": {"path": "owner/name"}, "data": {"sources": [{"path": "rows.csv"}]}}


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_in_a_strangers_run_brings_no_file_of_the_user_into_the_report(run: RunFolder, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.write_text("PRIVATE = 1")
    for file in (run.log, run.config, run.output, run.state):
        file.unlink(missing_ok=True)
        file.symlink_to(private)
    assert not [name for name in write_bundle(tmp_path / "r.zip", "", run) if name.startswith("run/")]
