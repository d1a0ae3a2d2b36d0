"""Options that are a name to the configuration, and a list of what there is to the user."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from studio.config import OptionSpec
from studio.i18n import tr
from studio.ui.forms.editors import Editor
from studio.ui.override import override
from studio.ui.widgets.combo import ComboBox


class OfferEditor(Editor):
    """One of the values that there are, by their titles; one that is not among them, as in an older file, is kept."""

    def __init__(self, choices: Iterable[tuple[str, str]], spec: OptionSpec) -> None:
        super().__init__(spec)
        self._choices = list(choices)
        self.choice = ComboBox(self._choices)
        self._take(self.choice)
        self.choice.changed.connect(self.changed)

    def offer_choices(self, choices: Iterable[tuple[str, str]]) -> None:
        """Offer other values; the one that is chosen stays chosen."""
        self._choices = list(choices)
        self._show(self.value())

    @override
    def value(self) -> str:
        return self.choice.value()

    @override
    def set_value(self, value: str | None) -> None:
        if str(value) != self.value():
            self._show(str(value))
            self.changed.emit()

    def _show(self, value: str) -> None:
        known = value in {key for key, _ in self._choices}
        self.choice.set_choices([*self._choices, *([] if known else [(value, value)])])
        self.choice.blockSignals(True)
        self.choice.set_value(value)
        self.choice.blockSignals(False)


def devices(gpus: int) -> list[tuple[str, str]]:
    """Return the devices of a computer with so many GPUs, each with its title."""
    cuda = [(f"cuda:{number}", tr("GPU {number} (cuda:{number})").format(number=number)) for number in range(gpus)]
    apple = [("mps", tr("Apple GPU (mps)"))] if sys.platform == "darwin" else []
    return [("auto", tr("Automatic")), *cuda, *apple, ("cpu", tr("Processor (cpu)"))]


def encodings() -> list[tuple[str, str]]:
    """Return the encodings that files mostly have, by the name that Python knows them by, each with its title."""
    named = (
        ("utf-8", tr("Unicode (UTF-8)")),
        ("utf-16", tr("Unicode (UTF-16)")),
        ("gb18030", tr("Chinese, simplified (GB 18030, GBK)")),
        ("big5", tr("Chinese, traditional (Big5)")),
        ("shift_jis", tr("Japanese (Shift JIS)")),
        ("euc-kr", tr("Korean (EUC-KR)")),
        ("cp1252", tr("Western (Windows 1252)")),
        ("latin-1", tr("Western (Latin-1)")),
        ("cp1251", tr("Cyrillic (Windows 1251)")),
    )
    return [("auto", tr("Automatic")), *named]
