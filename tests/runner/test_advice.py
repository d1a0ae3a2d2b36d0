"""What is recommended for a purpose, and what mends a model and rows that do not fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal

import pytest

from studio.runner.advice import advise, misfit_of_data, teach_dialogue


def model(kind: Literal["base", "chat"], *, has_template: bool = False, template: str = "chatml") -> Any:
    return SimpleNamespace(
        kind=kind, name="tiny", has_template=has_template, chat_template="", recommended_template=template
    )


@pytest.mark.parametrize(
    ("dialogue", "keep", "kind"),
    [(True, True, "chat"), (False, True, "chat"), (True, False, "base"), (False, False, "base")],
)
def test_what_speaks_is_for_manners_and_base_for_formats_of_one_s_own(dialogue: bool, keep: bool, kind: str) -> None:
    for found in (None, model("base"), model("chat", has_template=True)):
        advice = advise(dialogue, keep, found)
        assert advice.kind == kind
        assert bool(advice.options) == (found is not None and found.kind == kind)


def test_a_base_model_that_ships_a_template_is_taught_that_one() -> None:
    own = {"model.kind": "chat", "model.chat_template": ""}
    assert teach_dialogue(model("base", has_template=True)) == own
    found = model("base", has_template=True)
    misfit = misfit_of_data(found, found, {"dialogue"})
    assert misfit is not None
    assert misfit.remedies == (("use_own_template", own),)


def test_a_tokenizer_without_any_end_token_cannot_be_taught_dialogue() -> None:
    found = model("base", template="")
    assert teach_dialogue(found) == {}
    misfit = misfit_of_data(found, found, {"dialogue", "exchange"})
    assert misfit is not None
    assert (misfit.code, misfit.remedies) == ("dialogue_on_base", ())


@pytest.mark.parametrize(
    ("kind", "shapes", "fits"),
    [
        ("base", {"exchange"}, True),
        ("base", {"text"}, True),
        ("base", {"text", "dialogue"}, False),
        ("chat", {"dialogue"}, True),
        ("chat", {"text", "dialogue"}, True),
        ("chat", {"text"}, False),
    ],
)
def test_rows_fit_or_not(kind: Literal["base", "chat"], shapes: set[str], fits: bool) -> None:
    found = model(kind, has_template=kind == "chat")
    assert (misfit_of_data(found, found, shapes) is None) == fits
