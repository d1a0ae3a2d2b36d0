"""Edits the prompt template of a Base model, and shows what the model reads and learns with it while one types."""

from __future__ import annotations

from PySide6.QtGui import QFont, QFontDatabase, QTextOption
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from studio.config import OptionSpec
from studio.config.data import prompt_template_problem
from studio.engine.data.formats.values import exchange, layout
from studio.engine.data.prompt_template import fill_template
from studio.i18n import tr
from studio.ui import theme
from studio.ui.forms.editors import Editor
from studio.ui.override import override
from studio.ui.widgets.layout import vbox
from studio.ui.widgets.mask_preview import MaskPreview
from studio.ui.widgets.segmented import Segmented
from studio.ui.widgets.text import label

HEADINGS, OWN = "headings", "own"
FIRST = "### Instruction:\n{question}\n\n### Response:\n{answer}"


class PromptTemplateEditor(Editor):
    """The headings that the app writes, or a template of the user's own, kept byte for byte until it is edited."""

    def __init__(self, spec: OptionSpec) -> None:
        super().__init__(spec)
        self._end = ""
        self._given = self._shown = ""
        self.choice = Segmented([(HEADINGS, tr("Headings")), (OWN, tr("My own"))])
        self.text = QPlainTextEdit()
        self.text.setTabChangesFocus(True)
        self.text.setFixedHeight(theme.space(14))
        _monospaced(self.text)
        self.preview = MaskPreview()
        self.preview.setFixedHeight(theme.space(13))
        self._space = label(
            tr("A space before {answer} is read apart from the word behind it; most models expect it with that word."),
            "caption",
            wrap=True,
        )
        self.below = QWidget(self)
        caption = label(tr("How a row looks with it; what is learnt is underlined:"), "caption")
        vbox(self.text, self._space, caption, self.preview, spacing=0.5, margins=(0, 0, 0, 1.25), parent=self.below)
        self._take(self.choice)
        self.choice.changed.connect(self._chosen)
        self.text.textChanged.connect(self._typed)
        self._show()

    @override
    def value(self) -> str:
        if self.choice.value() == HEADINGS:
            return ""
        written = self._written()
        return self._given if written == self._shown else written

    @override
    def set_value(self, value: str | None) -> None:
        for part in (self.choice, self.text):
            part.blockSignals(True)
        self.choice.set_value(OWN if value else HEADINGS)
        self.text.setPlainText(value or "")
        for part in (self.choice, self.text):
            part.blockSignals(False)
        self._given, self._shown = value or "", self._written()
        self._show()
        self.changed.emit()

    @override
    def problem(self) -> str:
        if self.choice.value() == OWN and not self.value():
            return tr("Write a template with {question} and {answer}, or take the headings.")
        return prompt_template_problem(self.value())

    @override
    def show_problem(self, problem: str) -> None:
        self.text.setProperty("wrong", bool(problem))
        self.text.style().polish(self.text)

    @override
    def describe(self, name: str, description: str) -> None:
        super().describe(name, description)
        self.text.setAccessibleName(tr("{option}, as text").format(option=name))

    def set_end(self, token: str) -> None:
        """Show another token as the one that ends an answer."""
        self._end = token
        self._show()

    def _written(self) -> str:
        # toPlainText would turn no-break spaces into spaces. Shift+Return writes a line separator.
        return self.text.document().toRawText().replace("\u2029", "\n").replace("\u2028", "\n")

    def _chosen(self) -> None:
        if self.choice.value() == OWN and not self._written():
            self.text.setPlainText(FIRST)  # emits `changed` itself
            return
        self._typed()

    def _typed(self) -> None:
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        template, own = self.value(), self.choice.value() == OWN
        self.text.setVisible(own)
        self._space.setVisible(own and template.endswith(" {answer}"))
        if own and self.problem():
            self.preview.show_segments([])
            return
        system = tr("Answer in one word.") if "{system}" in template else ""
        messages = exchange(tr("What is the capital of France?"), tr("Paris"), system)
        pieces = fill_template(template, messages) if template else layout(messages)
        self.preview.show_segments([(piece.text + self._end * piece.learnt, piece.learnt) for piece in pieces])


def _monospaced(text: QPlainTextEdit) -> None:
    """Show every space, tab and line end: the template is taken as it stands."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    font.setStyleHint(QFont.StyleHint.Monospace)
    font.setPointSizeF(theme.points(theme.CAPTION))
    text.setFont(font)
    option = QTextOption()
    option.setFlags(QTextOption.Flag.ShowTabsAndSpaces | QTextOption.Flag.ShowLineAndParagraphSeparators)
    text.document().setDefaultTextOption(option)
