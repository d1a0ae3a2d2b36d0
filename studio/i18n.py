"""Translation of every user-visible string, without Qt, so that window, command line and engine share it.

`tr` translates now; `gettext_noop` only marks a string (a title in a module-level table, say) for the catalogue
and returns it unchanged, to be passed through `tr` where it is shown. Catalogues are gettext's.
"""

from __future__ import annotations

import gettext
from collections.abc import Iterator
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


def tr(text: str) -> str:
    """Return `text` in the language of the session. Put values in afterwards, with `str.format`."""
    return _translations.gettext(text) if text and not _untranslated.get() else text


@contextmanager
def untranslated() -> Iterator[None]:
    """Let `tr` return English within, on this thread alone: for files that are read without this program."""
    token = _untranslated.set(True)
    try:
        yield
    finally:
        _untranslated.reset(token)


def set_language(language: str) -> None:
    """Choose the language of all later `tr` calls; one without a catalogue means English."""
    global _translations, _language
    _language = language
    _translations = gettext.translation("studio", localedir=str(resource("i18n")), languages=[language], fallback=True)


def language() -> str:
    """Return the language of the session, for a process that is to speak it too."""
    return _language
