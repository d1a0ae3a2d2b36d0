"""Where an export goes: nobody's own files are lost, links stay, and no two exports take one place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import pytest

from studio.engine.export import run as running
from studio.engine.export.certificate import Certificate, Check, fingerprint_files
from studio.engine.export.destination import check_destination, put_in_place, put_under_own_name, staged
from studio.engine.export.run import export_run
from studio.errors import ExportError
from studio.runs import draft_name
from tests.engine.export.conftest import MakeRun

DEAD = 2**22 + 1  # no process has such a number


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The folder of an earlier export."""
    folder = tmp_path / "earlier"
    (folder / "base").mkdir(parents=True)
    for name in ("README.md", "model.safetensors", "base/config.json"):
        (folder / name).write_text(name)
    Certificate(
        checks=(Check.of("merge_exact", True, 0.0, 1e-3),),
        base={},
        target="merged",
        dtype="fp32",
        prompts=(),
        files=fingerprint_files(folder),
        run="r",
        versions={},
    ).write(folder)
    return folder


def test_an_earlier_export_may_be_replaced(earlier: Path) -> None:
    assert check_destination(earlier) == earlier
    (earlier / "model.safetensors").unlink()  # what is gone cannot be lost
    assert check_destination(earlier) == earlier


def edit(name: str) -> Callable[[Path], object]:
    """Return what writes into a file and leaves its length."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        (folder / name).write_text(text.swapcase())

    return change


def add(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text("mine")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (edit("README.md"), "README.md"),
        (edit("base/config.json"), "base/config.json"),
        (add(".gitattributes"), ".gitattributes"),
        (add(".env"), ".env"),
        (add("base/notes.txt"), "base/notes.txt"),
        (lambda folder: (folder / "link").symlink_to("nowhere"), "link"),
        (lambda folder: (folder / "data").symlink_to(folder.parent), "data"),
    ],
    ids=["card", "in a folder", "attributes", "secrets", "notes", "dangling link", "link to a folder"],
)
def test_what_somebody_put_into_an_earlier_export_is_named_and_stays(
    earlier: Path, change: Callable[[Path], object], name: str
) -> None:
    change(earlier)
    before = {path: path.lstat().st_size for path in earlier.rglob("*")}
    with pytest.raises(ExportError, match=f"changed since: {name};"):
        check_destination(earlier)

    with staged(earlier, 0) as draft, pytest.raises(ExportError, match="changed since"):
        put_in_place(draft, earlier)  # as if it had been put there while the export was made

    assert {path: path.lstat().st_size for path in earlier.rglob("*")} == before
    assert list(earlier.parent.iterdir()) == [earlier]


def test_a_hidden_file_alone_makes_a_folder_somebodys(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(ExportError, match="not an earlier export"):
        check_destination(tmp_path)


def test_a_failed_move_leaves_the_earlier_export(earlier: Path) -> None:
    with staged(earlier, 0) as draft:
        draft.rmdir()
        with pytest.raises(ExportError, match="cannot be written"):
            put_in_place(draft, earlier)
    assert (earlier / "README.md").read_text() == "README.md"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("exists", [True, False], ids=["to a folder", "to a place without one"])
def test_a_link_stays_a_link_and_leads_to_the_export(make_run: MakeRun, tmp_path: Path, exists: bool) -> None:
    target, link = tmp_path / "disk" / "target", tmp_path / "link"
    if exists:
        target.mkdir(parents=True)
    link.symlink_to(target, target_is_directory=True)

    result = export_run(make_run(), "adapter", out=link)

    assert link.is_symlink()
    assert link.readlink() == target
    assert (link / "certificate.json").samefile(result.certificate)
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_drafts_of_killed_exports_go_with_the_next_export_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: DEAD)
        left, aside = tmp_path / draft_name("a", "partial"), tmp_path / draft_name("b", "old")
    mine = [tmp_path / ".a.partial", tmp_path / f".notes.{DEAD}.bak", tmp_path / draft_name("c", "partial")]
    for folder in (left, aside, *mine):
        folder.mkdir()

    with staged(tmp_path / "a", 0):
        assert not left.exists()
        assert (tmp_path / "b").is_dir(), "an export that was only moved aside comes back"
        assert all(folder.is_dir() for folder in mine)


def test_exports_at_the_same_time_get_names_of_their_own(tmp_path: Path) -> None:
    wanted, together = tmp_path / "merged-fp32", Barrier(4)
    places: list[Path] = []

    def export(number: int) -> None:
        with staged(wanted, 0) as draft:
            (draft / "number").write_text(str(number))
            together.wait(10)
            places.append(put_under_own_name(draft, wanted))

    threads = [Thread(target=export, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {place.name for place in places} == {"merged-fp32", *(f"merged-fp32-{number}" for number in (2, 3, 4))}
    assert {(place / "number").read_text() for place in places} == {"0", "1", "2", "3"}
    assert set(tmp_path.iterdir()) == set(places)


def test_a_disk_that_is_full_as_the_tokenizer_is_written_is_said_in_a_sentence(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Exception("No space left on device (os error 28)")  # noqa: TRY002 - what tokenizers raise

    monkeypatch.setattr(running, "carry_over", full)
    run = make_run()
    with pytest.raises(ExportError, match=r"cannot be written to .*: No space left on device\.$"):
        export_run(run, "adapter")
    assert list(run.exports.iterdir()) == []
