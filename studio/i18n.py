"""Translation of every user-visible string, without Qt, so that window, command line and engine share it.

`tr` translates now; `mark` only marks a string (a title in a module-level table, say) for the catalogue
and returns it unchanged, to be passed through `tr` where it is shown. Catalogues are gettext's.
"""

from __future__ import annotations

import gettext

from studio.resources import resource

LANGUAGES = {"en": "English", "zh_CN": "简体中文"}
_translations: gettext.NullTranslations = gettext.NullTranslations()
_language = "en"


def mark(text: str) -> str:
    """Mark `text` for the catalogue; return it untranslated."""
    return text


def tr(text: str) -> str:
    """Return `text` in the language of the session. Put values in afterwards, with `str.format`."""
    return _translations.gettext(text) if text else text


def set_language(language: str) -> None:
    """Choose the language of all later `tr` calls; one without a catalogue means English."""
    global _translations, _language
    _language = language
    _translations = gettext.translation("studio", localedir=str(resource("i18n")), languages=[language], fallback=True)


def language() -> str:
    """Return the language of the session, for a process that is to speak it too."""
    return _language
