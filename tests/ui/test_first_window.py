"""A second start of the program finds the first window of its home, and nothing else does."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from studio.runner.opening import Opening
from studio.ui import first_window
from studio.ui.first_window import ANSWER, MOST_BYTES, FirstWindow, ask_first_window
from studio.ui.main_window import MainWindow

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="looks at a socket that is a file")


@pytest.fixture(autouse=True)
def _own_runtime_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a socket has at most some hundred bytes."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("r")))


@pytest.fixture
def asked() -> list[tuple[Opening | None, str]]:
    return []


@pytest.fixture
def first(qtbot: QtBot, asked: list[tuple[Opening | None, str]]) -> Iterator[FirstWindow]:
    """The first window of this home, as far as others see it."""
    result = FirstWindow()
    assert result.listen()
    result.asked.connect(lambda opening, token: asked.append((opening, token)))
    yield result
    result.close()
    result.deleteLater()


def _peer(question: bytes = b"") -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(first_window._address())
    peer.sendall(question)
    peer.setblocking(False)
    return peer


def _answer(peer: socket.socket, qtbot: QtBot) -> bytes:
    """Return what a peer got until its connection ended."""
    got = []

    def ended() -> bool:
        try:
            got.append(peer.recv(100))
        except BlockingIOError:
            return False
        return not got[-1]

    qtbot.waitUntil(ended)
    peer.close()
    return b"".join(got)


def _question(kind: object = "", path: object = "", token: object = "") -> bytes:
    return json.dumps({"kind": kind, "path": path, "token": token}).encode() + b"\n"


@pytest.mark.qt_log_ignore("This plugin does not support raise")  # the offscreen platform
def test_a_second_start_opens_its_file_in_the_first_window(
    window: MainWindow, first: FirstWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b\n1,2\n")
    first.asked.connect(window.show_asked)
    first.serve()
    window.go_to("train")
    window.showMinimized()
    with subprocess.Popen([sys.executable, "-m", "studio", rows]) as second:
        qtbot.waitUntil(lambda: second.poll() is not None, timeout=60_000)
    assert second.returncode == 0
    assert window.page == "setup"
    assert str(rows) in [source.path for source in window.setup.data.sources]
    assert not window.isMinimized()


def test_without_a_first_window_a_start_opens_one() -> None:
    assert not ask_first_window(None)


def test_the_socket_of_a_window_that_crashed_is_replaced(asked: list[tuple[Opening | None, str]], qtbot: QtBot) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(first_window._address())
    left.close()
    first = FirstWindow()
    assert not ask_first_window(None)
    assert first.listen()
    first.serve()
    assert _answer(_peer(_question()), qtbot) == ANSWER
    first.close()
    assert not Path(first_window._address()).exists()


def test_a_window_that_lives_is_not_replaced(
    first: FirstWindow, asked: list[tuple[Opening | None, str]], qtbot: QtBot
) -> None:
    assert not FirstWindow().listen()
    first.serve()
    assert _answer(_peer(_question("run", "/runs/one", "token")), qtbot) == ANSWER
    assert asked == [(Opening("run", Path("/runs/one")), "token")]


def test_who_asks_before_the_window_is_filled_waits(
    first: FirstWindow, asked: list[tuple[Opening | None, str]], qtbot: QtBot
) -> None:
    peer = _peer(_question("data", "/rows.csv"))
    qtbot.wait(20)
    assert asked == []
    first.serve()
    assert _answer(peer, qtbot) == ANSWER
    assert asked == [(Opening("data", Path("/rows.csv")), "")]


@pytest.mark.parametrize(
    "question",
    [
        b"\n",
        b"\xff\xfe\n",
        b"[]\n",
        b'{"kind": "", "path": ""}\n',
        b'{"kind": "data", "path": "/\\udc80", "token": ""}\n',
        _question("data", "rows.csv"),
        _question("data", ""),
        _question("", "/rows.csv"),
        _question("program", "/bin/sh"),
        _question(["data"], "/rows.csv"),
        _question("data", "/rows\0.csv"),
        _question("data", ["/rows.csv"]),
        _question("data", "/rows.csv", 5),
        _question("data", "/rows.csv", "x" * 300),
        _question("data", "/rows.csv", "a\nb"),
        b"[" * 5000 + b"\n",
        b"x" * MOST_BYTES,
    ],
    ids=lambda question: str(question[:40]),
)
def test_what_is_no_question_is_not_answered(
    first: FirstWindow, asked: list[tuple[Opening | None, str]], qtbot: QtBot, question: bytes
) -> None:
    first.serve()
    assert _answer(_peer(question), qtbot) == b""
    assert asked == []


def test_who_says_nothing_is_not_waited_for(first: FirstWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_window, "MILLISECONDS", 10)
    first.serve()
    assert _answer(_peer(), qtbot) == b""


def test_a_window_that_does_not_answer_is_none(first: FirstWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_window, "MILLISECONDS", 10)
    assert not ask_first_window(None)


def test_nobody_else_reaches_the_socket(first: FirstWindow) -> None:
    address = Path(first_window._address())
    assert address.is_socket()
    assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700


def test_a_folder_that_others_reach_is_not_used() -> None:
    folder = Path(first_window._address()).parent
    folder.chmod(0o755)
    assert not FirstWindow().listen()
    assert not ask_first_window(None)
    assert list(folder.iterdir()) == []


def test_another_home_has_a_window_of_its_own(
    first: FirstWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = first_window._address()
    (tmp_path / "link").symlink_to(os.environ["FINETUNE_STUDIO_HOME"])
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(tmp_path / "link"))
    assert first_window._address() == here
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(tmp_path))
    assert first_window._address() != here
    assert not ask_first_window(None)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has sessions without a runtime folder")
def test_a_session_without_a_runtime_folder_is_no_cause_for_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Warnings are errors in these tests; a session's own folder is private, which the temporary one must be too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("t")))
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    folder = Path(first_window._address()).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
