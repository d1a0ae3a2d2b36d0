"""The language of the window, Qt's own words included."""

from __future__ import annotations

from PySide6.QtCore import QLibraryInfo, QLocale, QTranslator

from studio.i18n import set_language
from studio.ui import theme


def speak(language: str) -> None:
    """Let all that is shown from now on, Qt's file dialogs and context menus too, be in a language."""
    set_language(language)
    QLocale.setDefault(QLocale(language))
    app = theme.application()
    for translator in app.findChildren(QTranslator):
        app.removeTranslator(translator)
        translator.deleteLater()
    translator = QTranslator(app)
    if translator.load(QLocale(language), "qtbase", "_", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)):
        app.installTranslator(translator)
