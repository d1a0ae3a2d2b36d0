"""Finding a model or a dataset on the hub by words, and downloading the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QCompleter, QDialog, QLineEdit, QWidget

from studio.i18n import sentences, tr
from studio.runner import actions
from studio.runner.actions import Found, Kind
from studio.text.hub import outlook_sentence
from studio.text.numbers import size_text
from studio.ui import theme
from studio.ui.bridge import AppContext
from studio.ui.dialogs.guide import offer_guide
from studio.ui.dialogs.hub.choice import HubChoice
from studio.ui.job import Job
from studio.ui.models.hub_search import NAME, SPARED, HubModel, level_of
from studio.ui.override import override
from studio.ui.place import resize_dialog
from studio.ui.widgets.buttons import push_button
from studio.ui.widgets.layout import STRETCH, hbox, scrolled, vbox
from studio.ui.widgets.progress import TaskProgress
from studio.ui.widgets.table import ComparisonTable, select_row, selected_row
from studio.ui.widgets.text import label
from studio.ui.widgets.verdict import Verdict

if TYPE_CHECKING:
    from studio.engine.estimate.unseen import Outlook

_WIDTH = 190  # characters


class FindOnHub(QDialog):
    """`taken` carries the id of the model, which is downloaded then, or of the dataset.

    Without words it lists the models that are on this computer, and those whose download was broken off.
    """

    taken = Signal(str)

    def __init__(self, context: AppContext, kind: Kind, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._context, self._kind = context, kind
        self._models = kind == "model"
        self._searched = ""
        self._error = ""
        self._here: set[str] = set()
        self._unfinished: dict[str, int] = {}
        self._outlooks: dict[str, Outlook] = {}
        title = tr("Find a model") if self._models else tr("Find a dataset")
        self.setWindowTitle(title)
        offer_guide(self, "setup", "kind" if self._models else "data")
        self._look_here = Job(self, context, tr("Looking for downloaded models"))
        self._search = Job(self, context, tr("Searching the hub"))
        self._fit = Job(self, context, tr("Computing what fits this computer"))
        self._download = Job(self, context, tr("Downloading the model"))
        self._discard = Job(self, context, tr("Removing what was downloaded"))
        self._build(title)
        self._connect()
        resize_dialog(self, _WIDTH, 84)
        self.words.setFocus()
        self._offer()
        self._look()

    @property
    def chosen(self) -> Found | None:
        """What the selected row shows."""
        index = selected_row(self.table)
        return None if index is None else self.model.found(index.row())

    def search(self) -> None:
        """Search for the words in the field; without words, list what is on this computer."""
        self._error = ""
        self._searched = self.words.text().strip()
        self._fit.drop()
        if not self._searched:
            self._search.drop()
            self._look()
            return
        self._context.settings.remember_search(self._searched)
        words, kind = self._searched, self._kind
        self._search.start(lambda progress: actions.search_hub(words, kind, progress=progress))
        self.verdict.set(tr("Searching {hub} …").format(hub=actions.hub_of(kind).spoken()), "busy")

    @override
    def done(self, result: int) -> None:
        """Stop the background work, however the dialog ends; what was received of a download stays."""
        for job in (self._look_here, self._search, self._fit, self._download, self._discard):
            job.drop()
        super().done(result)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._show_columns()

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter takes the selected row where the table has the focus; a line has a meaning of its own for it."""
        if event.key() not in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            super().keyPressEvent(event)
        elif self.table.hasFocus():
            self._take()

    def _build(self, title: str) -> None:
        self.words = QLineEdit()
        self.words.setPlaceholderText(tr("Words of its name, such as SmolLM2 instruct"))
        self.words.setAccessibleName(tr("Words to search for"))
        self.words.setClearButtonEnabled(True)
        completer = QCompleter(list(self._context.settings.recent_searches), self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.words.setCompleter(completer)
        self.search_button = push_button(tr("Search"), icon="search", tooltip=tr("Search the hub (Enter)"))
        self.hub = HubChoice(self._context, for_models=self._models)
        self.model = HubModel(self._kind)
        self.table = ComparisonTable(self.model, title, NAME)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.table.setWordWrap(False)
        self.verdict, self.progress = Verdict(), TaskProgress()
        self.leave = push_button(tr("Close"), "plain", tooltip=tr("Close without a change (Esc)"))
        self.remove = push_button(tr("Remove what is here"), "quiet", "remove")
        self.use = push_button("", "primary", "download" if self._models else "check")
        for button in (self.search_button, self.leave, self.remove, self.use):
            button.setAutoDefault(False)
        about = tr(
            "Models that generate text and have safetensors weights. Whether one can be trained here is computed from "
            "its config.json; nothing else is fetched before you ask for it."
        )
        if not self._models:
            about = tr("Datasets come from Hugging Face's hub. One is downloaded when it is read for the first time.")
        self.table.setMinimumHeight(theme.space(16))
        inside = QWidget()
        vbox(
            label(title, "title"),
            label(about, "muted", wrap=True),
            hbox((self.words, 1), self.search_button, spacing=1),
            self.hub,
            (self.table, 1),
            spacing=1.5,
            parent=inside,
        )
        vbox(
            (scrolled(inside, title), 1),  # with the settings of the hub it is higher than a small window
            self.verdict,
            self.progress,
            hbox(self.remove, STRETCH, self.leave, self.use, spacing=1),
            spacing=1.5,
            margins=(3, 3, 3, 2),
            parent=self,
        )

    def _connect(self) -> None:
        self.words.returnPressed.connect(self.search)
        self.search_button.clicked.connect(self.search)
        self.hub.changed.connect(self._hub_changed)
        self.table.selectionModel().selectionChanged.connect(self._selected)
        self.table.doubleClicked.connect(self._take)
        self.leave.clicked.connect(self.reject)
        self.remove.clicked.connect(self._remove)
        self.use.clicked.connect(self._take)
        self._look_here.finished.connect(self._show_here)
        self._search.finished.connect(self._show_found)
        self._fit.progressed.connect(self._show_outlooks)
        self._fit.finished.connect(self._show_outlooks)
        self._download.progressed.connect(self.progress.report)
        self._download.finished.connect(self._finish)
        self._download.cancelled.connect(self._look)
        self._discard.finished.connect(self._look)
        self.progress.cancelled.connect(self._download.cancel)
        for job in (self._look_here, self._search, self._download, self._discard):
            job.failed.connect(self._show_error)

    def _look(self) -> None:
        """Ask what is on this computer."""
        self.progress.hide()
        self._look_here.start(lambda _: (actions.list_downloaded(), actions.list_unfinished()))

    def _show_here(self, here: tuple[Sequence[str], dict[str, int]]) -> None:
        self._here, self._unfinished = set(here[0]), here[1]
        if not self._searched:
            names = sorted({*self._here, *self._unfinished}) if self._models else []
            self._show_rows([Found(id=name) for name in names])
            if not names and not self._error:
                self.verdict.set(tr("Type a few words and press Enter."), "note")
        self._offer()

    def _show_rows(self, found: Sequence[Found]) -> None:
        chosen = self.chosen
        words = {name: tr("{size} received").format(size=size_text(size)) for name, size in self._unfinished.items()}
        self.model.show(found, words | dict.fromkeys(self._here, tr("Downloaded")))
        self._show_columns()
        if found:
            names = [one.id for one in found]
            place = names.index(chosen.id) if chosen and chosen.id in names else 0
            select_row(self.table, self.model.index(place, NAME))

    def _show_columns(self) -> None:
        """Hide what is only known of what was searched for, and in a narrow dialog what matters least."""
        narrow = self.width() < theme.characters(_WIDTH - 20)
        facts = range(NAME + 1, len(self.model.columns) - 1) if self._models else ()
        for column in facts:
            self.table.setColumnHidden(column, not self._searched or (narrow and column in SPARED))

    def _show_found(self, found: Sequence[Found]) -> None:
        self.verdict.set("" if found else tr("Nothing was found for {words}.").format(words=self._searched), "note")
        self._outlooks = {}
        self._show_rows(found)
        if self._models and found:
            told = self._outlooks
            self._fit.start(lambda progress: actions.outlooks(found, told.__setitem__, progress))
        self._offer()

    def _show_outlooks(self, *_: object) -> None:
        self.model.show_outlooks(self._outlooks)
        self._offer()

    def _selected(self) -> None:
        self._error = ""
        self._offer()

    def _hub_changed(self) -> None:
        if self._searched:
            self.search()

    def _show_error(self, sentence: str) -> None:
        self._error = sentence
        self.verdict.set(sentence, "bad")
        self._look()

    def _offer(self) -> None:
        """Say of the selected row what is known, and what can be done with it."""
        chosen = self.chosen
        received = self._unfinished.get(chosen.id, 0) if chosen else 0
        busy = self._download.running or self._discard.running
        words, tooltip = self._words_of(chosen, received)
        self.use.setText(f"\u00a0{words}")
        self.use.setAccessibleName(words)
        self.use.setToolTip(tooltip)
        self.use.setEnabled(chosen is not None and not self._problem and not busy)
        self.remove.setVisible(bool(received) and not busy)
        self.remove.setToolTip(tr("{size} of a download that was broken off").format(size=size_text(received)))
        self._tell(chosen, received)

    @property
    def _outlook(self) -> Outlook | None:
        """What is known of the selected model."""
        index = selected_row(self.table)
        return None if index is None else self.model.outlook(index.row())

    @property
    def _problem(self) -> str:
        """Why the selected model can never be trained here, as far as is known."""
        return self._outlook.problem if self._outlook else ""

    def _words_of(self, chosen: Found | None, received: int) -> tuple[str, str]:
        """Return the words on the button that takes the selected row, and its tooltip."""
        if not self._models:
            words, tooltip = tr("Use this dataset"), tr("Choose it for the Data card (Enter)")
        elif chosen is not None and chosen.id in self._here:
            words, tooltip = tr("Use this model"), tr("Choose it on the Setup page (Enter)")
        else:
            words = tr("Go on with the download") if received else tr("Download and use")
            tooltip = tr("Download it into the models folder, and choose it (Enter)")
        return words, (self._problem or tooltip) if chosen else tr("Select a row first.")

    def _tell(self, chosen: Found | None, received: int) -> None:
        """Say how the selected model fits and what of it is here, where nothing more urgent is said."""
        if chosen is None or self._search.running or self._error:
            return
        outlook = self._outlook
        here = tr("It is downloaded.") if chosen.id in self._here else ""
        if received:
            here = tr("{size} of it are here; a download goes on from there.").format(size=size_text(received))
        if outlook is not None:
            self.verdict.set(sentences((outlook_sentence(outlook), here)), level_of(outlook))
        elif self._fit.running:
            self.verdict.set(tr("Computing whether it can be trained here …"), "busy")
        else:
            self.verdict.set(here, "note")

    def _take(self) -> None:
        chosen = self.chosen
        if chosen is None or not self.use.isEnabled():
            return
        if not self._models:
            self._finish(chosen.id)
            return
        self._fit.drop()  # the line is needed for the download
        self._error = ""
        self._download.start(lambda progress: actions.download(chosen.id, progress) and chosen.id)
        self._offer()

    def _finish(self, repository: str) -> None:
        self.taken.emit(repository)
        self.accept()

    def _remove(self) -> None:
        chosen = self.chosen
        if chosen is not None:
            self._discard.start(lambda progress: actions.discard_download(chosen.id, progress))
            self._offer()
