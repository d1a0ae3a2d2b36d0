"""Every bad input of the project's list about models, 62 to 84, has its tests; here is where they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
# Those whose number no test of test_bad_models.py bears.
ELSEWHERE = {
    79: ["engine/models/test_chat_templates.py::test_what_the_tokenizer_puts_before_a_text_the_template_writes_once"],
    80: [
        "engine/methods/test_peft_methods.py::test_a_name_of_no_linear_layer_is_refused_before_and_when_it_is_attached"
    ],
    81: [
        "config/test_run_config.py::test_nonsense_in_a_method_is_refused",
        "engine/methods/test_peft_methods.py::test_a_rank_that_no_layer_can_have_is_refused",
    ],
    84: [
        "engine/training/test_run.py::test_training_writes_nothing_beside_the_model_and_goes_on_when_its_drive_is_removed",
        "engine/export/test_export_refusals.py::test_a_base_that_is_gone",
        "engine/models/test_find.py::test_a_path_that_is_not_there_is_called_a_folder",
    ],
}


def test_every_number_of_the_list_has_a_test() -> None:
    text = (TESTS / "engine/models/test_bad_models.py").read_text(encoding="utf-8")
    found = {int(number) for number in re.findall(r"(?:def test_|^    \(\s*\")(\d+)[_ ]", text, re.MULTILINE)}
    assert sorted(found | ELSEWHERE.keys()) == list(range(62, 85))


@pytest.mark.parametrize("place", [place for places in ELSEWHERE.values() for place in places])
def test_what_the_index_names_is_there(place: str) -> None:
    file, name = place.split("::")
    assert f"def {name}(" in (TESTS / file).read_text(encoding="utf-8")
