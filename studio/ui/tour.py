"""The first-run tour: five steps beside the controls that they are about. Enter goes on, Esc skips the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QWidget
from shiboken6 import isValid

from studio.i18n import gettext_noop, tr
from studio.ui import theme
from studio.ui.override import override
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, vbox
from studio.ui.widgets.text import label


@dataclass(frozen=True)
class Step:
    """What a step says, and which control it is about, by its name among those that the window gives."""

    about: str
    title: str
    words: str


STEPS = (
    Step(
        "model",
        gettext_noop("1. Choose a model"),
        gettext_noop(
            "A folder, or a model of the hub. Without one at hand take the starter model: it trains on any computer."
        ),
    ),
    Step(
        "data",
        gettext_noop("2. Add your rows"),
        gettext_noop(
            "Drop a file with questions and answers, or take a sample. The preview shows what is read and learnt."
        ),
    ),
    Step(
        "presets",
        gettext_noop("3. Say what it is for"),
        gettext_noop(
            "A preset has the settings for a goal, and lists what it changes. The cards below explain every setting."
        ),
    ),
    Step(
        "start",
        gettext_noop("4. Start"),
        gettext_noop(
            "As soon as everything is right, Start is lit; until then the reason stands beside it. Train and Numerics "
            "show the run live."
        ),
    ),
    Step(
        "pages",
        gettext_noop("5. Try it, export it"),
        gettext_noop(
            "Chat asks the model beside its base. Export checks what it writes. F1 opens the guide at any page."
        ),
    ),
)


class Tour(QFrame):
    """A card over the window, which stays usable. `ended` is emitted once, however the tour ends.

    Args:
        targets: the control of each step, asked for when the step begins.
    """

    ended = Signal()

    def __init__(self, window: QWidget, targets: Callable[[str], QWidget], steps: Sequence[Step] = STEPS) -> None:
        super().__init__(window)
        self.setProperty("kind", "tour")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._targets, self._steps, self.step = targets, steps, 0
        self._before = window.focusWidget()
        self._target, self._followed = window, list[QWidget]()
        self.ring = _Ring(window)
        self.title, self.words = label("", "heading"), label("", wrap=True)
        self.words.setMinimumWidth(theme.characters(46))
        self.skip = push_button(tr("Skip"), "quiet", tooltip=tr("End the tour (Esc); the Help menu starts it again"))
        self.next = push_button("", "primary")
        self.skip.clicked.connect(self.end)
        self.next.clicked.connect(self.go_on)
        vbox(
            self.title,
            self.words,
            hbox(self.skip, STRETCH, self.next),
            spacing=1,
            margins=2,
            parent=self,
        )
        window.installEventFilter(self)
        self.show()
        self._show_step()

    def go_on(self) -> None:
        """Show the next step, or end after the last."""
        self.step += 1
        if self.step < len(self._steps):
            self._show_step()
        else:
            self.end()

    def end(self) -> None:
        """Take the tour away; the keyboard is where it was."""
        self._follow([])
        self.window().removeEventFilter(self)
        for part in (self, self.ring):
            part.hide()
            part.deleteLater()
        if self._before is not None and isValid(self._before):  # a source may have been removed meanwhile
            self._before.setFocus()
        self.ended.emit()

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        match event.key():
            case Qt.Key.Key_Escape:
                self.end()
            case Qt.Key.Key_Return | Qt.Key.Key_Enter:
                self.go_on()
            case _:
                super().keyPressEvent(event)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and watched is self.window():
            self._find_target()
        elif event.type() in (QEvent.Type.Resize, QEvent.Type.Move) and watched in self._followed:
            self._place()
        return False

    def _show_step(self) -> None:
        step, last = self._steps[self.step], self.step == len(self._steps) - 1
        self.title.setText(tr(step.title))
        self.words.setText(tr(step.words))
        self.setAccessibleName(tr(step.title))
        self.setAccessibleDescription(tr(step.words))
        words = tr("Done") if last else tr("Next step")
        self.next.setText(words)
        self.next.setAccessibleName(words)
        self.next.setToolTip(tr("End the tour (Enter)") if last else tr("Next step (Enter)"))
        self._find_target()
        self.setFocus()

    def _find_target(self) -> None:
        """Stand beside the control of this step, and follow it: a card grows when its model or its rows were read."""
        self._target = self._targets(self._steps[self.step].about)
        around = list[QWidget]()
        part: QWidget | None = self._target
        while part is not None and part is not self.window():
            around.append(part)
            part = part.parentWidget()
        self._follow(around)
        self._place()

    def _follow(self, widgets: list[QWidget]) -> None:
        for widget in filter(isValid, self._followed):
            widget.removeEventFilter(self)
        self._followed = widgets
        for widget in widgets:
            widget.installEventFilter(self)

    def _place(self) -> None:
        """Stand below the control, or above it where there is no room, within the window; the ring is around it."""
        if not isValid(self._target):
            self._find_target()
            return
        window, target = self.window(), self._target
        gap = theme.space(1)
        around = QRect(target.mapTo(window, QPoint(0, 0)), target.size()).adjusted(
            -gap // 2, -gap // 2, gap // 2, gap // 2
        )
        self.ring.setGeometry(around.intersected(window.rect()))
        self.ring.show()
        self.ring.raise_()
        width = self.sizeHint().width()
        self.resize(width, self.heightForWidth(width))  # `adjustSize` cuts words that are wrapped
        own = QRect(around.bottomLeft() + QPoint(gap, gap), self.size())
        if own.bottom() > window.height() - gap:
            own.moveBottom(max(around.top() - gap, own.height() + gap))
        own.moveRight(min(own.right(), window.width() - gap))
        own.moveLeft(max(own.left(), gap))
        self.setGeometry(own)
        self.raise_()


class _Ring(QWidget):
    """Draws a frame around a control; clicks go through it."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    @override
    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.palette().accent, 2))
        painter.drawRoundedRect(self.rect().adjusted(1, 1, -1, -1), theme.space(1), theme.space(1))
