"""A certificate in plain words: the verdict, every check with its meaning, and the files."""

from __future__ import annotations

import time
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QWidget

from studio.engine.control import Progress
from studio.engine.export.certificate import Certificate, Check
from studio.i18n import gettext_noop, tr
from studio.runner import actions
from studio.text import numbers
from studio.text.gguf import loss_headline, loss_level
from studio.text.numbers import size_text
from studio.ui import icons, theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.hub.push import PushDialog
from studio.ui.folders import show_folder
from studio.ui.job import Job
from studio.ui.models.exports import SIGNS, PastExport, target_title
from studio.ui.models.run_summary import when_text
from studio.ui.place import open_dialog
from studio.ui.widgets.buttons import icon_button, push_button
from studio.ui.widgets.empty import EmptyState
from studio.ui.widgets.layout import STRETCH, hbox, scrolled, vbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.text import ElidedLabel, label

UNTOLD = gettext_noop("Nothing is called exported here until it was read back from disk and its outputs were compared.")


class Sign(QLabel):
    """A good, a warning or a bad sign in the colours of the theme."""

    def __init__(self, level: str, units: float) -> None:
        super().__init__()
        self._level, self._units = level, units
        self.setAccessibleName(tr("failed") if level == "bad" else tr("passed"))
        theme.notifier().changed.connect(self._paint)
        self._paint()

    def _paint(self) -> None:
        size, colour = theme.space(self._units), theme.palette().names()[self._level]
        self.setPixmap(icons.pixmap(SIGNS[self._level], colour, size, self.devicePixelRatioF()))


class CertificateView(QFrame):
    """Shows one export, or the sentence of one that could not be written."""

    checked = Signal(object)  # the PastExport that was checked again

    def __init__(self, context: AppContext, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.setAccessibleName(tr("Certificate"))
        self._context = context
        self._busy = ""
        self._check = Job(self, context, tr("Checking the export again"))
        self.open = icon_button("folder", tr("Open the folder of the export"))
        self.copy = icon_button("copy", tr("Copy the path of the export"))
        self.again = push_button(tr("Check again"), "plain", "refresh")
        self.push = push_button(
            tr("Put on the hub …"), "plain", "send", tr("Send this export to a repository of yours")
        )
        self.progress = TaskProgress()
        self._where = ElidedLabel("", "caption", mode=Qt.TextElideMode.ElideMiddle)
        self._area = scrolled(QWidget(), tr("Checks and files"))
        self.setFocusProxy(self._area)
        where = hbox((self._where, 1), self.copy, self.open, spacing=0.5)
        foot = vbox(where, hbox(self.again, STRETCH, self.push, spacing=1), spacing=0.75)
        vbox((self._area, 1), self.progress, foot, spacing=1, margins=(2, 2, 2, 1.5), parent=self)
        self._connect()
        self.show_nothing()

    def show_nothing(self) -> None:
        """Say what will stand here."""
        self._begin(tr("No export yet"), tr(UNTOLD), None)
        self._area.setWidget(EmptyState("export", tr("No export yet"), tr(UNTOLD)))

    def show_failure(self, sentence: str) -> None:
        """Say why nothing was exported."""
        self._show(tr("Not exported"), sentence, "bad", None)

    def show_export(self, export: PastExport) -> None:
        """Show an export and its certificate; the check of another one ends."""
        if self._check.running and export.path == self.path:
            return
        certificate = export.certificate
        if certificate is None:
            self._show(tr("Not certified"), export.problem, "bad", export.path)
            return
        rows = [_check_row(check) for check in sorted(certificate.checks, key=lambda check: check.passed)]
        self._show(
            _verdict(certificate), _about(export, certificate), export.level, export.path, *rows, _files(certificate)
        )
        self.again.show()

    def check_again(self) -> None:
        """Check the export that is shown as `finetune-studio verify` does, in the background."""
        path = self.path
        if path is None:
            return
        self._check.start(lambda progress: _checked(path, progress))
        self.progress.report("starting", 0, 0)
        # The button that was pressed is switched off: Qt would hand the focus to Cancel, and Space would press it.
        self.setFocus()
        self._show_again()

    def set_busy(self, reason: str) -> None:
        """While an export is under way nothing is checked; `reason` says what goes on, "" ends it."""
        self._busy = reason
        if reason:
            self._check.drop()
        self._end_check()

    def _end_check(self) -> None:
        self.progress.hide()
        self._show_again()

    def _show_again(self) -> None:
        problem = tr("The export is being checked.") if self._check.running else self._busy
        self.again.setEnabled(not problem)
        self.again.setToolTip(
            problem or tr("Compare its files with the certificate, and measure the model in them once more")
        )

    def _connect(self) -> None:
        self.open.clicked.connect(lambda: show_folder(self._context, self.path) if self.path else None)
        self.copy.clicked.connect(lambda: theme.application().clipboard().setText(str(self.path)))
        self.push.clicked.connect(self._ask_hub)
        self.again.clicked.connect(self.check_again)
        self.progress.cancelled.connect(self._check.cancel)
        self._check.progressed.connect(self.progress.report)
        self._check.finished.connect(self._show_checked)
        self._check.failed.connect(self._show_unchecked)
        self._check.cancelled.connect(self._end_check)

    def _show_unchecked(self, sentence: str) -> None:
        self._show(tr("Not checked"), sentence, "bad", self.path)
        self.again.show()

    def _show_checked(self, export: PastExport) -> None:
        self.show_export(export)
        self.checked.emit(export)

    def _ask_hub(self) -> None:
        if self.path is not None:
            dialog = PushDialog(self._context, self.path, self)
            open_dialog(dialog)

    def _begin(self, verdict: str, about: str, path: Path | None, *, passed: bool = False) -> None:
        self.verdict = verdict
        self.path = path
        self._check.drop()
        self._end_check()
        self.again.hide()
        self.setAccessibleDescription(f"{verdict}. {about}")
        self._where.set_text("" if path is None else str(path))
        for button in (self.open, self.copy):
            button.setVisible(path is not None)
        self.push.setVisible(passed)

    def _show(self, verdict: str, about: str, level: str, path: Path | None, *parts: QWidget) -> None:
        self._begin(verdict, about, path, passed=level != "bad")
        holder = QWidget()
        holder.setProperty("kind", "page")
        content = vbox(_head(verdict, about, level), spacing=1.25, margins=(0, 0, 1, 0), parent=holder)
        content.addSpacing(theme.space(0.5))
        for part in parts:
            content.addWidget(part)
        content.addStretch(1)
        self._area.setWidget(holder)


def _checked(path: Path, progress: Progress) -> PastExport:
    return PastExport(path=path, certificate=actions.verify(path, progress), checked=time.time())


def _verdict(certificate: Certificate) -> str:
    """Return the verdict; for a GGUF file it tells what the format costs, where that is not little."""
    if not certificate.passed:
        return tr("Failed: do not use this export")
    if loss := loss_headline(certificate.checks):
        return tr("The file is right. {cost}").format(cost=loss)
    return tr("Passed: it does what the trained model does")


def _head(verdict: str, about: str, level: str) -> QWidget:
    title = label(verdict, "title", wrap=True)
    title.setProperty("level", level)
    words = vbox(title, label(about, "muted", wrap=True), spacing=0.25)
    widget = QWidget()
    hbox((Sign(level, 4), 0, Qt.AlignmentFlag.AlignTop), (words, 1), spacing=1.5, parent=widget)
    return widget


def _check_row(check: Check) -> QWidget:
    level = "bad" if not check.passed else "warning" if loss_level([check]) else "good"
    meaning = label(check.text, wrap=True)
    meaning.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    value = label(_value_text(check), "caption")
    value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
    value.setToolTip(tr("What was measured, and the limit it is held against"))
    widget = QWidget()
    widget.setAccessibleName(
        tr("{name}: {value}").format(name=tr("passed") if check.passed else tr("failed"), value=check.text)
    )
    above = Qt.AlignmentFlag.AlignTop
    hbox(
        (Sign(level, 2), 0, above),
        (meaning, 1),
        (value, 0, above),
        spacing=1.25,
        parent=widget,
    )
    return widget


def _files(certificate: Certificate) -> QWidget:
    widget = QWidget()
    grid = QGridLayout(widget)
    grid.setContentsMargins(0, theme.space(0.5), 0, 0)
    grid.setHorizontalSpacing(theme.space(2))
    grid.setVerticalSpacing(theme.space(0.4))
    total = sum(print_["bytes"] for print_ in certificate.files.values())
    grid.addWidget(label(tr("Files"), "value"), 0, 0)
    grid.addWidget(label(size_text(total), "value"), 0, 1, Qt.AlignmentFlag.AlignRight)
    for line, (name, print_) in enumerate(certificate.files.items(), start=1):
        grid.addWidget(ElidedLabel(name, "muted"), line, 0)
        grid.addWidget(label(size_text(print_["bytes"]), "muted"), line, 1, Qt.AlignmentFlag.AlignRight)
    grid.setColumnStretch(0, 1)
    return widget


def _about(export: PastExport, certificate: Certificate) -> str:
    failed = sum(not check.passed for check in certificate.checks)
    counted = (
        tr("{failed} of {all} checks failed").format(failed=failed, all=len(certificate.checks))
        if failed
        else tr("all {all} checks passed").format(all=len(certificate.checks))
    )
    when = when_text(certificate.created)
    if export.checked is not None:
        when = tr("checked again {when}").format(when=when_text(export.checked))
    return " · ".join((target_title(certificate.target), certificate.dtype, counted, when))


def _value_text(check: Check) -> str:
    """The measured value and its limit; for a check that says yes or no, or that nothing was found, the sign does."""
    if check.value is None or isinstance(check.value, bool) or (check.passed and check.limit == 0):
        return ""
    value = check.value if isinstance(check.value, str) else numbers.brief(float(check.value))
    if check.limit is None:
        return value
    return tr("{value}\nlimit {limit}").format(value=value, limit=numbers.brief(check.limit))
