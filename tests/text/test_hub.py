"""What the hub says is put into words."""

from __future__ import annotations

import pytest

from studio.i18n import set_language
from studio.text.hub import rows_text


@pytest.mark.parametrize(
    ("tag", "english", "chinese"),
    [
        ("10K<n<100K", "10,000 to 100,000", "10,000 至 100,000"),
        ("1M<n<10M", "1 M to 10 M", "1 M 至 10 M"),
        ("n<1K", "Fewer than 1,000", "少于 1,000"),
        ("n>1T", "More than 1 T", "多于 1 T"),
        ("many", "many", "many"),
        ("", "–", "–"),
    ],
)
def test_rows_of_a_dataset_are_said_in_words(tag: str, english: str, chinese: str) -> None:
    assert rows_text(tag) == english
    set_language("zh_CN")
    assert rows_text(tag) == chinese
