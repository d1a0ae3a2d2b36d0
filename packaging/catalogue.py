"""Gather every marked string of the program into its catalogues, and compile them.

    python packaging/catalogue.py            bring every catalogue up to date
    python packaging/catalogue.py pt_BR      begin one for another language (docs/translations.md)

A catalogue is `resources/i18n/LANGUAGE/LC_MESSAGES/studio.po`, beside what gettext reads: `studio.mo`. A string that is
new stands there without a translation, and the program shows it in English; one that is gone from the program is
dropped, with its translation.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "resources" / "i18n"
# What marks a text, and the places of its texts among the arguments; those of `FORMS` are forms of one.
MARKS = {"tr": (0,), "gettext_noop": (0,), "trn": (0, 1), "ngettext_noop": (0, 1), "option": (1, 2)}
FORMS = ("trn", "ngettext_noop")
NAMED = ("title", "help")  # of `option`, where they are given by name


def extracted(root: Path = ROOT) -> Catalog:
    """Return every marked text below `root`, of the package and of what installs it, with their files."""
    template = Catalog(project="Finetune Studio", charset="utf-8")
    for file in (*sorted((root / "studio").rglob("*.py")), *sorted((root / "packaging").glob("*.py"))):
        place = file.relative_to(root).as_posix()
        for text in marked(ast.parse(file.read_text(encoding="utf-8"))):
            message = template.add(text)
            message.locations = list(dict.fromkeys((*message.locations, (place, 0))))
            if "%(" not in str(text) and "%s" not in str(text):
                message.flags.discard("python-format")  # "5 % of" looks like one
    return template


def marked(module: ast.Module) -> Iterator[str | tuple[str, str]]:
    """Yield the texts that a module marks, those inside of f-strings too, which babel's own search passes over."""
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        given = [call.args[place] for place in MARKS.get(name, ()) if place < len(call.args)]
        given += [one.value for one in call.keywords if name == "option" and one.arg in NAMED]
        texts = [
            one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value
        ]
        if name in FORMS and len(texts) == 2:
            yield texts[0], texts[1]
        else:
            yield from texts


def updated(language: str, template: Catalog, folder: Path = FOLDER) -> Catalog:
    """Return the catalogue of a language with the strings of `template` and the translations that there are of them."""
    path = po_path(language, folder)
    catalogue = read(path, language) if path.is_file() else _empty(language)
    catalogue.update(template, no_fuzzy_matching=True, update_creation_date=False)
    catalogue.obsolete.clear()
    return catalogue


def read(path: Path, language: str) -> Catalog:
    """Return the catalogue in a .po file; a file that is not one raises `babel.messages.pofile.PoFileError`."""
    with path.open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def po_bytes(catalogue: Catalog) -> bytes:
    """Return a catalogue as a .po file; without the numbers of lines, which would change it with every edit."""
    stream = BytesIO()
    write_po(stream, catalogue, width=120, include_lineno=False)
    return stream.getvalue()


def mo_bytes(catalogue: Catalog) -> bytes:
    """Return the compiled catalogue that gettext reads."""
    stream = BytesIO()
    write_mo(stream, catalogue)
    return stream.getvalue()


def po_path(language: str, folder: Path = FOLDER) -> Path:
    """Return where the catalogue of a language is, below the folder of all of them."""
    return folder / language / "LC_MESSAGES" / "studio.po"


def languages(folder: Path = FOLDER) -> list[str]:
    """Return the languages that have a catalogue."""
    return sorted(path.parents[1].name for path in folder.glob("*/LC_MESSAGES/studio.po"))


def main(wanted: list[str]) -> None:
    """Bring the catalogues of `wanted` up to date, or all that there are."""
    template = extracted()
    for language in wanted or languages():
        catalogue = updated(language, template)
        path = po_path(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(po_bytes(catalogue))
        path.with_suffix(".mo").write_bytes(mo_bytes(catalogue))
        left = sum(not all(forms(message.string)) for message in catalogue)
        print(f"{language}: {len(catalogue)} strings, {left} without a translation")


def forms(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return a text of a catalogue, or each of its plural forms; one form that is empty where there is none."""
    return (text or "",) if text is None or isinstance(text, str) else tuple(text)


def _empty(language: str) -> Catalog:
    return Catalog(
        language,
        project="Finetune Studio",
        version=" ",
        header_comment="# The texts of Finetune Studio. docs/translations.md says how a language is added.",
        msgid_bugs_address=" ",
        last_translator=" ",
        language_team=language,
        revision_date=datetime.now(UTC),
        fuzzy=False,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
