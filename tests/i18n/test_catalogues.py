"""Each catalogue holds every text of the program, translated, with the same placeholders; it is compiled as it is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from string import Formatter
from types import ModuleType

import pytest

from studio.i18n import LANGUAGES, set_language, tr

SCRIPT = Path(__file__).parents[2] / "packaging" / "catalogue.py"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("catalogue_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CATALOGUE = script()
TRANSLATED = [language for language in LANGUAGES if language != "en"]


def placeholders(text: str) -> list[tuple[str, str | None]]:
    """Return the fields of a text for `str.format`, with their formats, in alphabetical order."""
    return sorted((name, spec) for _, name, spec, _ in Formatter().parse(text) if name is not None)


def test_every_language_of_the_menu_has_a_catalogue_and_the_other_way_round() -> None:
    assert CATALOGUE.languages() == sorted(TRANSLATED)


@pytest.mark.parametrize("language", TRANSLATED)
def test_what_gettext_reads_is_compiled_from_the_catalogue_as_it_is(language: str) -> None:
    path = CATALOGUE.po_path(language)
    catalogue = CATALOGUE.read(path, language)
    assert path.with_suffix(".mo").read_bytes() == CATALOGUE.mo_bytes(catalogue), "run packaging/catalogue.py"
    assert path.read_bytes() == CATALOGUE.po_bytes(catalogue), "run packaging/catalogue.py"


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_catalogue_holds_every_text_of_the_program_and_no_other_and_each_is_translated(language: str) -> None:
    template = {message.id for message in CATALOGUE.extracted() if message.id}
    catalogue = {message.id: message.string for message in CATALOGUE.read(CATALOGUE.po_path(language), language)}
    catalogue.pop("", None)

    assert catalogue.keys() == template, "run packaging/catalogue.py"
    assert not [text for text, translation in catalogue.items() if not all(CATALOGUE.forms(translation))]


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_translation_is_a_guess(language: str) -> None:
    catalogue = CATALOGUE.read(CATALOGUE.po_path(language), language)
    assert not [message.id for message in catalogue if message.id and message.fuzzy]


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_translation_has_the_placeholders_of_the_text(language: str) -> None:
    wrong = []
    for message in CATALOGUE.read(CATALOGUE.po_path(language), language):
        fullest = CATALOGUE.forms(message.id)[-1]  # the singular may leave its number out
        for form in filter(None, CATALOGUE.forms(message.string)):
            if message.id and placeholders(form) != placeholders(fullest):
                wrong.append((fullest, form))
    assert wrong == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_counted_text_has_every_plural_form_of_the_language(language: str) -> None:
    catalogue = CATALOGUE.read(CATALOGUE.po_path(language), language)
    counted = [message for message in catalogue if message.pluralizable]
    assert not [message.id for message in counted if len(CATALOGUE.forms(message.string)) != catalogue.num_plurals]


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_menu_keeps_its_key(language: str) -> None:
    """`&Run` is opened with Alt+R; a language without these letters writes the key behind the words."""
    for message in CATALOGUE.read(CATALOGUE.po_path(language), language):
        if message.string and isinstance(message.id, str):
            assert key_of(message.id) == key_of(str(message.string)), message.id


def key_of(text: str) -> str:
    """Return the letter behind the one `&` of a text; empty where there is none."""
    _, mark, after = text.partition("&")
    return after[:1].upper() if mark and after[:1].strip() else ""


def test_all_ways_of_marking_a_text_are_found(tmp_path: Path) -> None:
    (tmp_path / "studio").mkdir()
    (tmp_path / "studio" / "module.py").write_text(
        'A = gettext_noop("a title")\n'
        'tr("{count:,} rows "\n   "of 5 % of")\n'
        'trn("{n} run", "{n} runs", n)\n'
        'x: int = option(3, "Rank", "Its help.", unit=gettext_noop("rows"))\n'
        'y: int = option(3, title="Alpha", help="Twice the rank.")\n'
        'tr(A)\nf("no text")\n'
        """f'<b>{tr("inside")}</b> {x!r}'\n""",
        encoding="utf-8",
    )
    found = [message for message in CATALOGUE.extracted(tmp_path) if message.id]
    assert {message.id for message in found} == {
        "a title",
        "{count:,} rows of 5 % of",
        ("{n} run", "{n} runs"),
        "Rank",
        "Its help.",
        "Alpha",
        "Twice the rank.",
        "rows",
        "inside",
    }
    assert not [message for message in found if "python-format" in message.flags]


def test_an_update_keeps_translations_and_drops_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "studio").mkdir()
    module = tmp_path / "studio" / "module.py"
    module.write_text('tr("stays")\ntr("goes")\n')
    catalogue = CATALOGUE.updated("zh_CN", CATALOGUE.extracted(tmp_path), tmp_path)
    catalogue.get("stays").string = "留下"
    catalogue.get("goes").string = "离开"
    path = CATALOGUE.po_path("zh_CN", tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(CATALOGUE.po_bytes(catalogue))
    module.write_text('tr("stays")\ntr("goes on")\n')
    catalogue = CATALOGUE.updated("zh_CN", CATALOGUE.extracted(tmp_path), tmp_path)
    texts = {message.id: message.string for message in catalogue if message.id}
    assert texts == {"stays": "留下", "goes on": None}
    assert "离开" not in CATALOGUE.po_bytes(catalogue).decode()


def test_the_program_speaks_the_language_that_was_chosen() -> None:
    set_language("zh_CN")
    assert tr("Cancel") == "取消"
    set_language("en")
    assert tr("Cancel") == "Cancel"
