"""How texts are put together in a language: numbers in them, lists, and sentences one after the other."""

from __future__ import annotations

import pytest

from studio.i18n import sentences, set_language, tr, trn, untranslated
from studio.text.numbers import share_text


@pytest.mark.parametrize(("n", "words"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs")])
def test_english_takes_the_singular_for_one_alone(n: int, words: str) -> None:
    assert trn("{n} run", "{n} runs", n).format(n=n) == words


@pytest.mark.usefixtures("marked_chinese")
def test_the_form_comes_from_the_catalogue_of_the_language() -> None:
    set_language("zh_CN")
    assert trn("one row", "rows", 2) == "译rows"


@pytest.mark.usefixtures("marked_chinese")
def test_what_is_written_untranslated_is_english() -> None:
    set_language("zh_CN")
    with untranslated():
        assert trn("one row", "rows", 1) == "one row"
        assert trn("one row", "rows", 2) == "rows"


def test_sentences_stand_one_after_the_other_and_a_full_width_stop_needs_no_space() -> None:
    assert sentences(("It ended.", "", "It is saved.")) == "It ended. It is saved."
    assert sentences(("已结束。", "", "已保存。")) == "已结束。已保存。"


def test_lists_have_the_separator_of_the_language() -> None:
    set_language("zh_CN")
    assert tr(", ").join(("LoRA", "IA3")) == "LoRA、IA3"


def test_a_percentage_is_written_as_the_language_has_it() -> None:
    assert share_text(1, 2) == "50 %"
    set_language("zh_CN")
    assert share_text(1, 2) == "50%"
