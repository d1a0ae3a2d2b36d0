"""What a newcomer does with the app, from the tour to the folder of a GGUF file, by mouse and by keyboard alone.

    python -m tests.e2e.newcomer [--by mouse|keyboard] [--events qt|x] [--stages N] [--model DIR | --installed]
                                 [--pictures DIR] [--patience TIMES]

The app runs as `studio.ui.app` runs it, in a home of its own in which nothing was ever done. It has a starter model,
as an installation leaves one: a tiny one, or with `--model` that of a folder. With `--installed` the home is the
user's own, as the installation has left it (first_start.py). With `--patience` a training may take so many times as
long, on a slow or busy processor. The script prints how many clicks, or keys, each stage took.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, QUrl, Slot
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QApplication, QWidget

import studio
from studio.engine.models import starter
from studio.ui import app
from studio.ui.main_window import MainWindow
from studio.ui.pages.chat.page import ChatPage
from tests.e2e.events import Events, OfQt, OfTheXServer
from tests.e2e.hands import button
from tests.e2e.screen import SIZE
from tests.e2e.ways import Key, Keyboard, Modifier, Mouse, Way, give_focus_to_the_front, settle, wait_until
from tests.tiny import save_model

WAYS: dict[str, type[Way]] = {"mouse": Mouse, "keyboard": Keyboard}
EVENTS: dict[str, type[Events]] = {"qt": OfQt, "x": OfTheXServer}
CTRL, NONE = Modifier.ControlModifier, Modifier.NoModifier
ROWS = 24
PICTURES = ("mapping", "preset", "comparison", "chat", "export")
TRAINING, EXPORTING = 1200.0, 600.0  # seconds at most, of the real model on a small processor
OF_OTHERS = (
    "This plugin does not support",  # the offscreen platform, about itself
    "No module named 'kernels'",  # bitsandbytes, about a package that it can do without
)
ENOUGH = 8  # tokens of an answer
COUNTED = ("clicks", "wheel", "keys", "letters")
Stages = dict[str, Counter[str]]  # how often each kind of event was needed, by the stage's name


class Newcomer:
    """The stages in their order; each begins where the one before has ended."""

    def __init__(self, window: MainWindow, way: Way, rows: Path, show: Callable[[str], None], patience: float) -> None:
        self.window, self.way, self.rows, self.show, self.patience = window, way, rows, show, patience
        self.setup = window.setup
        self.desktop = Desktop()
        self.stages: Stages = {}

    def go(self, count: int | None) -> None:
        """Do the first so many stages, or all."""
        stages = (
            self.follow_the_tour,
            self.add_own_rows,
            self.say_what_columns_hold,
            self.take_a_preset,
            self.train,
            self.train_with_another_rate,
            self.compare_both_runs,
            self.ask_the_model,
            self.export_a_gguf_file,
            self.open_its_folder,
        )
        for stage in stages[:count]:
            self.way.counted.clear()
            stage()
            give_focus_to_the_front()
            focused = QApplication.focusWidget()
            assert focused is not None, f"after {stage.__name__} nothing has the focus"
            assert focused.isVisible(), f"after {stage.__name__} something hidden has the focus"
            assert not self.window.banner.text or self.window.banner.button, self.window.banner.text
            self.stages[stage.__name__.replace("_", " ")] = Counter(self.way.counted)

    def follow_the_tour(self) -> None:
        wait_until(lambda: self.window.help.tour is not None, "the tour")
        wait_until(lambda: not self.setup.pending, "the starter model and the sample")
        for _ in range(5):
            tour = self.window.help.tour
            assert tour is not None
            self.way.press(tour.next, keys=(Key.Key_Return, NONE))
        assert self.window.help.tour is None

    def add_own_rows(self) -> None:
        """The file takes the place of the sample that stands there."""
        data = self.setup.data
        self.way.open_file(data.add_file, self.rows)
        wait_until(lambda: str(self.rows) in [source.path for source in data.sources], "the file on the Data card")
        (sample,) = (source for source in data.sources if source.path != str(self.rows))
        self.way.press(sample.remove, before=True)
        wait_until(lambda: not self.setup.pending, "the rows")
        assert [source.path for source in data.sources] == [str(self.rows)]

    def say_what_columns_hold(self) -> None:
        (source,) = self.setup.data.sources
        boxes = source.mapping.boxes
        wait_until(boxes["question"][0].isVisible, "the columns of the file")
        self.way.choose(boxes["question"][0], "customer wrote")
        self.way.choose(boxes["answer"][0], "we replied")
        wait_until(lambda: source.inspection is not None, "the rows as they are learnt")
        self.show("mapping")
        self.way.press(source.mapping.ignore)
        wait_until(
            lambda: self.setup.data.verdict[1] == "good" and not self.setup.pending, "a good verdict on the data"
        )

    def take_a_preset(self) -> None:
        self.way.press(self.setup.presets, keys=(Key.Key_T, CTRL))
        dialog = self._dialog()
        assert dialog.chosen.title == "Quick look"
        self.show("preset")
        self.way.press(dialog.use, keys=(Key.Key_Return, NONE))
        wait_until(lambda: self.setup.tables()["training"].get("max_steps") == 20, "the settings of the preset")

    def train(self) -> None:
        self._start()

    def train_with_another_rate(self) -> None:
        self.way.press(self.window.rail["setup"], keys=(Key.Key_1, CTRL))
        self.way.write(self.setup.training.form.rows["learning_rate"].editor.main, "1e-3")
        self._start()

    def compare_both_runs(self) -> None:
        self.way.press(self.window.rail["runs"], keys=(Key.Key_6, CTRL))
        page = self.window.pages["runs"]
        wait_until(lambda: page.rows.rowCount() == 2, "both runs")
        self.way.take_rows(page.table, page.rows.index(0, 0), page.rows.index(1, 0))
        self.way.press(page.compare, before=True)
        dialog = self._dialog()
        wait_until(lambda: dialog.model.rowCount() > 0, "what the runs differ in")
        first = [dialog.model.item(row, 0).text() for row in range(dialog.model.rowCount())]
        assert any(words.endswith("Learning rate") for words in first), first
        self.show("comparison")
        self.way.press(button(dialog, "Close"), keys=(Key.Key_Escape, NONE))

    def ask_the_model(self) -> None:
        self.way.press(self.window.rail["chat"], keys=(Key.Key_4, CTRL))
        page = self.window.pages["chat"]
        wait_until(lambda: page.choice.pair is not None and page.prompt.hasFocus(), "the question's field")
        self.way.type("My parcel is late.")
        self.way.press(page.send_button, keys=(Key.Key_Return, NONE))
        wait_until(lambda: _answered(page), "both answers", EXPORTING * self.patience)
        if page.stop_button.isVisible():  # a model that has learnt little does not end by itself
            self.way.press(page.stop_button, keys=(Key.Key_Escape, NONE))
        wait_until(page.send_button.isVisible, "the end of the answers", EXPORTING * self.patience)
        assert not page.problem.text, page.problem.text
        self.show("chat")

    def export_a_gguf_file(self) -> None:
        self.way.press(self.window.rail["export"], keys=(Key.Key_5, CTRL))
        page = self.window.pages["export"]
        wait_until(lambda: page.form.folder is not None, "the runs that can be exported")
        self.way.pick(page.form.cards["gguf"])
        self.way.press(page.form.button, keys=(Key.Key_E, CTRL | Modifier.ShiftModifier))
        wait_until(lambda: page.certificate.verdict != "No export yet", "the certificate", EXPORTING * self.patience)
        assert page.certificate.open.isVisible(), page.certificate.accessibleDescription()
        assert list(page.certificate.path.glob("*.gguf"))
        self.show("export")

    def open_its_folder(self) -> None:
        page = self.window.pages["export"]
        self.way.press(page.certificate.open)
        wait_until(lambda: self.desktop.opened, "the folder")
        assert self.desktop.opened == [str(page.certificate.path)]

    def _start(self) -> None:
        before = self.window.context.record
        wait_until(self.window.run_bar.start.isEnabled, "a configuration that can start")
        self.way.press(self.window.run_bar.start, keys=(Key.Key_Return, CTRL))
        wait_until(lambda: self.window.context.record not in (None, before), "a run")
        record = self.window.context.record
        assert record is not None
        wait_until(lambda: record.state.ended, "the end of the run", TRAINING * self.patience)
        assert (record.state.status, record.state.update) == ("finished", 20), record.state

    def _dialog(self) -> QWidget:
        wait_until(lambda: QApplication.activeModalWidget() is not None, "a dialog")
        dialog = QApplication.activeModalWidget()
        assert dialog is not None
        return dialog


def _answered(page: ChatPage) -> bool:
    """Whether both models have said something, or are done."""
    said = [side for turn in page.conversation.turns for side in (turn.tuned, turn.other)]
    return page.send_button.isVisible() or all(len(side.tokens) >= ENOUGH for side in said)


class Desktop(QObject):
    """Hears which folders the app asks the desktop to show."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        QDesktopServices.setUrlHandler("file", self, "show_folder")  # the annotation says bytes, which it refuses

    @Slot(QUrl)
    def show_folder(self, url: QUrl) -> None:
        self.opened.append(url.toLocalFile())


class Complaints(logging.Handler):
    """Keeps what is logged as a warning or worse, defects of the window and messages of Qt among it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        words = self.format(record)
        if not any(known in words for known in OF_OTHERS):
            self.heard.append(words)


def go(
    by: str,
    events: Events,
    count: int | None,
    home: AbstractContextManager[Path],
    pictures: Path | None,
    patience: float,
) -> Stages:
    """Open the app at home, where a CSV file is, and go so many stages, or all; return what each stage took."""
    complaints, failures, newcomers = Complaints(), [], []
    with home as rows:
        logging.getLogger().addHandler(complaints)

        def begin() -> None:
            window = next(shown for shown in QApplication.topLevelWidgets() if isinstance(shown, MainWindow))
            newcomer = Newcomer(
                window, WAYS[by](events), rows, lambda name: picture(pictures, f"{by}-{name}"), patience
            )
            newcomers.append(newcomer)
            if QGuiApplication.platformName() == "offscreen":
                window.showNormal()
                window.setGeometry(0, 0, *SIZE)  # as large as the screen on which it is looked at
            try:
                newcomer.go(count)
            except AssertionError:
                traceback.print_exc()
                picture(pictures, f"{by}-failed")
                failures.append(by)
            QDesktopServices.unsetUrlHandler("file")
            for dialog in QApplication.topLevelWidgets():
                dialog.close()
            window.context.stop()
            window.close()

        QTimer.singleShot(0, app.make_application(), begin)
        status = app.main()
        logging.getLogger().removeHandler(complaints)
    assert not failures
    assert status == 0
    assert not complaints.heard, complaints.heard
    return newcomers[0].stages


@contextmanager
def fresh_home(model: Path | None) -> Iterator[Path]:
    """Make a home with a starter model and the user's own file."""
    with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
        home, data = Path(folder) / "home", Path(folder) / "data"
        home.mkdir()
        os.environ |= {"HOME": str(home), "FINETUNE_STUDIO_HOME": str(data), "HF_HUB_OFFLINE": "1"}
        os.environ |= {"FINETUNE_STUDIO_CACHE": str(Path(folder) / "cache")}
        target = data / "models" / starter.NAME
        if model is None:
            save_model(target, merges=[("o", "r")])
        else:
            target.parent.mkdir(parents=True)
            target.symlink_to(model.resolve())
        yield write_rows(home)


@contextmanager
def own_home() -> Iterator[Path]:
    """Leave everything as the installation has left it, and write the user's own file."""
    print(f"The program: {Path(studio.__file__).parent}; Python: {sys.prefix}")
    yield write_rows(Path.home())


def write_rows(folder: Path) -> Path:
    """Write a CSV file whose columns nobody can guess."""
    rows = folder / "letters.csv"
    lines = ["ticket,customer wrote,we replied,clerk"]
    lines += [f"{n},Where is order {n}?,Order {n} leaves our house today.,{'AB'[n % 2]}" for n in range(ROWS)]
    rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return rows


def picture(folder: Path | None, name: str) -> None:
    """Keep a picture of the window that is in front."""
    if folder is not None:
        settle()
        give_focus_to_the_front()
        QApplication.activeWindow().grab().save(str(folder / f"{name}.png"))


def table(counts: dict[str, Stages]) -> str:
    """Return the counts of both ways as a table."""
    lines = []
    for by, stages in counts.items():
        kinds = [kind for kind in COUNTED if any(stage[kind] for stage in stages.values())]
        lines.append(f"{'by ' + by:<26}" + "".join(f"{kind:>9}" for kind in kinds))
        for name, stage in stages.items():
            lines.append(f"{name:<26}" + "".join(f"{stage[kind]:>9}" for kind in kinds))
        total = sum(stages.values(), Counter())
        lines.append(f"{'in all':<26}" + "".join(f"{total[kind]:>9}" for kind in kinds))
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Go by one way or both, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by", choices=list(WAYS), help="one way alone")
    parser.add_argument("--events", choices=list(EVENTS), default="qt", help="x: those of the X server, by xdotool")
    parser.add_argument("--stages", type=int, help="only the first so many")
    home = parser.add_mutually_exclusive_group()
    home.add_argument("--model", type=Path, help="the starter model; a tiny one without it")
    home.add_argument("--installed", action="store_true", help="at home as the installation has left it; needs --by")
    parser.add_argument("--pictures", type=Path, help="where pictures of the way are kept")
    parser.add_argument("--patience", type=float, default=1.0, help="so many times as long a training may take")
    chosen = parser.parse_args()
    if chosen.installed and not chosen.by:
        parser.error("--installed needs --by: the second way would not be a newcomer's any more")
    counts = {}
    for by in [chosen.by] if chosen.by else WAYS:
        home_of_it = own_home() if chosen.installed else fresh_home(chosen.model)
        counts[by] = go(by, EVENTS[chosen.events](), chosen.stages, home_of_it, chosen.pictures, chosen.patience)
    print(table(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
