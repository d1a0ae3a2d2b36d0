"""Commands reach a run through a file in its folder, and nothing else in that file does anything."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from studio.engine.control import Control
from studio.errors import RunFolderError
from studio.runner.commands import Listener, RemoteControl, clear_commands
from studio.runs import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_every_verb_arrives_once_and_in_order(folder: RunFolder) -> None:
    control, remote = Control(), RemoteControl(folder)
    listener = Listener(folder, control)
    listener.look()  # nothing has been said
    remote.pause()
    remote.request_checkpoint()
    listener.look()
    assert control.pause_requested
    assert control.take_checkpoint_request()
    listener.look()
    assert not control.take_checkpoint_request()
    remote.resume()
    remote.pause()
    remote.request_remedy("lower_rate")
    listener.look()
    assert control.take_remedy() == "lower_rate"
    assert not control.pause_requested
    remote.stop(save=False)
    listener.look()
    assert control.stop_requested
    assert control.discard_requested
    assert remote.stop_requested


def test_a_run_is_attended_while_a_process_that_attends_lives(folder: RunFolder) -> None:
    control, remote = Control(), RemoteControl(folder)
    listener = Listener(folder, control)
    remote.attend()
    listener.look()
    assert control.attended
    remote.leave()
    listener.look()
    assert not control.attended
    dead = {"do": "attend", "process": os.getpid(), "started": "before", "host": os.uname().nodename}
    folder.commands.write_text(folder.commands.read_text() + json.dumps(dead) + "\n")
    listener.look()
    assert not control.attended


def test_nonsense_is_left_out_and_what_follows_is_heard(folder: RunFolder) -> None:
    control = Control()
    nonsense = ["", "[]", "null", '{"do": "rm"}', '{"do": ["stop"]}', '{"do": "attend", "process": 1e999}', "[" * 9000]
    folder.commands.write_text(
        "\n".join([*nonsense, '{"do": "attend", "process": "x"}', '{"do": "pause"}', '{"do": "st'])
    )
    Listener(folder, control).look()
    assert control.pause_requested
    assert not control.stop_requested
    assert not control.attended


def test_what_an_earlier_process_was_told_is_forgotten(folder: RunFolder) -> None:
    clear_commands(folder)
    RemoteControl(folder).stop()
    clear_commands(folder)
    control = Control()
    Listener(folder, control).look()
    assert not control.stop_requested


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_link_or_a_pipe_in_place_of_the_file_is_never_written_or_read(folder: RunFolder, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder.commands.symlink_to(precious)
    with pytest.raises(RunFolderError, match="cannot be told"):
        RemoteControl(folder).pause()
    assert precious.read_text() == "mine"
    folder.commands.unlink()
    os.mkfifo(folder.commands)
    with pytest.raises(RunFolderError):
        RemoteControl(folder).pause()
    Listener(folder, Control()).look()
