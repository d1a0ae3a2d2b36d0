"""Translation of every user-visible string, without Qt, so that window, command line and engine share it.

`tr` translates now, and `trn` by a number; `gettext_noop` only marks a string (a title in a module-level table, say)
for the catalogue and returns it unchanged, to be passed through `tr` where it is shown, as `ngettext_noop` does for
`trn`. Catalogues are gettext's.
"""

from __future__ import annotations

import gettext
import locale
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from studio.paths import resource

LANGUAGES = {"en": "English", "zh_CN": "简体中文"}
_translations: gettext.NullTranslations = gettext.NullTranslations()
_language = "en"
_untranslated: ContextVar[bool] = ContextVar("untranslated", default=False)


def gettext_noop(text: str) -> str:
    """Mark `text` for the catalogue; return it untranslated."""
    return text


def ngettext_noop(singular: str, plural: str) -> tuple[str, str]:
    """Mark the two forms of a text for the catalogue; return them untranslated, for `trn`."""
    return singular, plural


def tr(text: str) -> str:
    """Return `text` in the language of the session. Put values in afterwards, with `str.format`."""
    return _translations.gettext(text) if text and not _untranslated.get() else text


def trn(singular: str, plural: str, n: int) -> str:
    """Return the form that goes with `n` in the language of the session: `trn("{n} run", "{n} runs", n).format(n=n)`.

    English takes `singular` for 1 alone. Other languages have one form, or several: their catalogues say which.
    """
    catalogue = gettext.NullTranslations() if _untranslated.get() else _translations
    return catalogue.ngettext(singular, plural, n)


def sentences(texts: Iterable[str]) -> str:
    """Return sentences one after the other, empty ones left out; a full-width stop needs no space behind it."""
    return " ".join(filter(None, texts)).replace("。 ", "。")


@contextmanager
def untranslated() -> Iterator[None]:
    """Let `tr` and `trn` return English within, on this thread alone: for files that are read without this program."""
    token = _untranslated.set(True)
    try:
        yield
    finally:
        _untranslated.reset(token)


def set_language(language: str) -> None:
    """Choose the language of all later calls of `tr` and `trn`; one without a catalogue means English."""
    global _translations, _language
    _language = language
    _translations = gettext.translation("studio", localedir=str(resource("i18n")), languages=[language], fallback=True)


def terminal_language() -> str:
    """Return the language of the terminal or, without one, of the desktop, where there is a catalogue for it."""
    variables = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    chosen = next(filter(None, variables), None) or locale.getlocale()[0] or ""  # Windows sets no variable
    return "zh_CN" if chosen.startswith(("zh", "Chinese")) else "en"


def language() -> str:
    """Return the language of the session, for a process that is to speak it too."""
    return _language
