"""The place that the monkey cannot leave: a home of its own with some runs, a model and rows, no network, no desktop."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from PySide6.QtCore import QObject, QUrl, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog

from studio.events import to_json
from studio.runs import RunFolder, holder_of, take_lock
from tests.screenshots.scripted import scripted_events, scripted_runs

EARLIER = Path(__file__).parents[2] / "earlier"
CONFIG = """[model]
path = "{model}"
[[data.sources]]
path = "{rows}"
[method]
name = "{method}"
[training]
max_steps = {steps}
batch_size = 4
device = "cpu"
[retention]
measure = false
"""


class _Opener(QObject):
    """Opens nothing, in the place of the browser and of the file manager."""

    def __init__(self, asked: Counter[str]) -> None:
        super().__init__()
        self._asked = asked

    @Slot(QUrl)
    def open(self, url: QUrl) -> None:
        self._asked[f"open {url.scheme()}"] += 1


class Sandbox:
    """What lies in the place, and what was asked of the world outside of it: `asked` counts that.

    Attributes:
        files: what can be dropped on the window or chosen in a file dialog, good and bad.
    """

    def __init__(self, place: Path, draw: random.Random) -> None:
        self.place, self._draw = place, draw
        self.asked: Counter[str] = Counter()
        self.runs = place / "home" / "runs"
        shutil.copytree(EARLIER, place / "earlier")
        _name_the_place(place / "earlier")
        self.files = (*self._make_files(), *self._make_runs())

    def to_open(self) -> str:
        """Return a path to open, good or bad."""
        return str(self._draw.choice(self.files))

    @contextmanager
    def closed(self) -> Iterator[None]:
        """While this lasts, file dialogs answer by themselves, nothing else is opened, and no address is reached."""
        (self.place / "saved").mkdir()
        os.chdir(self.place / "saved")
        kept = {name: getattr(QFileDialog, name) for name in _FILE_DIALOGS}
        connect, opener = socket.socket.connect, _Opener(self.asked)
        for name in _FILE_DIALOGS:
            setattr(QFileDialog, name, staticmethod(self._answer(name)))
        for scheme in ("file", "http", "https", "mailto"):
            QDesktopServices.setUrlHandler(scheme, opener, "open")
        socket.socket.connect = self._refuse  # type: ignore[method-assign,assignment]
        sleeper = subprocess.Popen(["sleep", "100000"])
        try:
            take_lock(self.runs / "elsewhere", holder_of(sleeper.pid))
            yield
        finally:
            socket.socket.connect = connect  # type: ignore[method-assign]
            for scheme in ("file", "http", "https", "mailto"):
                QDesktopServices.unsetUrlHandler(scheme)
            for name, function in kept.items():
                setattr(QFileDialog, name, function)
            _end_children()
            sleeper.wait()

    def _answer(self, name: str) -> Any:
        def answer(_parent: object, _title: str, _start: str = "", filters: str = "", **_: object) -> Any:
            self.asked[name] += 1
            if self._draw.random() < 0.2:  # Cancel
                return _NOTHING.get(name, ("", ""))
            kind = self._draw.choice(filters.split(";;"))
            saved = self.place / "saved"
            match name:
                case "getExistingDirectory":
                    return str(self._draw.choice([saved, self.runs, self.place / "earlier" / "model"]))
                case "getSaveFileName":
                    new = saved / f"{self._draw.randrange(100)}"
                    return str(self._draw.choice([new, new, new, saved, new / "in" / "no" / "folder"])), kind
                case "getOpenFileNames":
                    return [self.to_open() for _ in range(self._draw.randint(1, 3))], kind
            return self.to_open(), kind

        return answer

    def _refuse(self, _: socket.socket, address: object) -> None:
        self.asked["network"] += 1
        raise ConnectionRefusedError(f"the monkey has no network: {address}")

    def _make_files(self) -> Iterator[Path]:
        model, rows = self.place / "earlier" / "model", self.place / "earlier" / "rows.jsonl"
        for method, steps in (("lora", 6), ("full", 3), ("lora", 100_000)):
            config = self.place / f"{method}-{steps}.toml"
            config.write_text(CONFIG.format(model=model, rows=rows, method=method, steps=steps), encoding="utf-8")
            yield config
        bad = {
            "broken.toml": b"[model\n",
            "strange.toml": b"[training]\nlearning_rat = 1\n",
            "table.csv": "question,answer\nWhy?,爱\nשלום,\n".encode(),
            "broken.jsonl": b'{"messages": 3}\n\xff\xfe\n',
            "empty.txt": b"",
        }
        for name, content in bad.items():
            (self.place / name).write_bytes(content)
            yield self.place / name
        yield from (model, rows, self.place / "earlier" / "run", self.place / "nowhere", Path("/dev/zero"))

    def _make_runs(self) -> Iterator[Path]:
        """Finished, stopped and failed runs, one that was cut off, one that is trained elsewhere, and damaged ones."""
        scripted_runs(self.runs)
        for name in ("finished", "elsewhere", "cut-off", "damaged"):
            shutil.copytree(self.place / "earlier" / "run", self.runs / name)
            yield self.runs / name
        for name in ("elsewhere", "cut-off"):
            _change_state(self.runs / name / "state.json", "running")
        journal = "".join(f"{to_json(event)}\n" for event in scripted_events(40))
        (self.runs / "elsewhere" / "events.jsonl").write_text(journal, encoding="utf-8")
        take_lock(self.runs / "cut-off", holder_of(2**22))
        (self.runs / "damaged" / "events.jsonl").write_bytes(b'{"type": "step_completed", "loss": []}\n\0\0')
        (self.runs / "damaged" / "config.toml").write_bytes(b"\xff[")
        unreadable = RunFolder(self.runs / "unreadable")
        unreadable.path.mkdir()
        (unreadable.path / "state.json").write_text("{", encoding="utf-8")
        yield unreadable.path


_FILE_DIALOGS = ("getOpenFileName", "getOpenFileNames", "getSaveFileName", "getExistingDirectory")
_NOTHING: dict[str, object] = {"getOpenFileNames": ([], ""), "getExistingDirectory": ""}


def _name_the_place(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.suffix in (".toml", ".json", ".jsonl"):
            file.write_text(file.read_text(encoding="utf-8").replace("EARLIER", str(folder)), encoding="utf-8")


def _change_state(file: Path, status: str) -> None:
    state = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(state | {"status": status}), encoding="utf-8")


def _end_children() -> None:
    """End what the monkey has started in processes of their own, and the sleeper that trains elsewhere."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        child.terminate()
    _, left = psutil.wait_procs(children, timeout=10)
    for child in left:
        child.kill()
