"""The rows of a source as the X-ray opens them: their text, their marks, the cut and the skipped ones, and the search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from studio.config import DataConfig, DataSource
from studio.engine.data.findings.base import Remedy
from studio.engine.data.inspect import inspect_data
from studio.engine.data.prepare import prepare_data
from studio.engine.data.report import Remark
from studio.engine.data.xray import LengthSuggestion, Segment, XRay, open_xray
from studio.errors import Cancelled, DataError

Jsonl = Callable[..., str]
CHINESE = [
    {"instruction": "什么是低秩适配？", "output": "一种微调方法。🙂"},
    {"instruction": "写一首诗", "output": "春眠不觉晓，处处闻啼鸟。" * 20},
    {"instruction": "空", "output": ""},
    {"instruction": "谢谢", "output": "不客气。"},
]


@pytest.fixture
def chinese(tokenizer: PreTrainedTokenizerFast, jsonl: Jsonl) -> XRay:
    """Four rows, of which the second is cut at 64 tokens and the third is skipped."""
    return open_xray(DataSource(path=jsonl(CHINESE)), tokenizer, "chat", max_length=64)


def text(xray: XRay, place: int) -> str:
    return "".join(segment.text for segment in xray.row(place).segments)


def test_a_row_reads_as_the_preview_shows_it_with_the_control_tokens_marked(
    tokenizer: PreTrainedTokenizerFast, jsonl: Jsonl, chinese: XRay
) -> None:
    shown = inspect_data(DataSource(path=jsonl(CHINESE)), tokenizer, "chat", max_length=64).rendered
    assert [text(chinese, place) for place in (0, 2)] == [
        "".join(part for part, _ in row.segments) for row in (shown[0], shown[2])
    ]
    row = chinese.row(0)
    assert row.segments == (
        Segment("<|im_start|>", special=True),
        Segment("user\n什么是低秩适配？"),
        Segment("<|im_end|>", special=True),
        Segment("\n"),
        Segment("<|im_start|>", special=True),
        Segment("assistant\n"),
        Segment("一种微调方法。🙂", learnt=True),
        Segment("<|im_end|>", learnt=True, special=True),
        Segment("\n"),
    )
    assert (row.number, row.tokens, row.learnt) == (1, shown[0].tokens, shown[0].supervised_tokens)


def test_words_keep_their_spaces_where_the_tokenizer_marks_them(jsonl: Jsonl) -> None:
    words = {piece: place for place, piece in enumerate(["<unk>", "</s>", "▁good", "▁day", "▁yes", "▁sir"])}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")
    source = DataSource(path=jsonl([{"prompt": "good day", "completion": " yes sir"}]))
    segments = open_xray(source, tokenizer, "base").row(0).segments
    assert segments[:2] == (Segment("good day"), Segment(" yes sir", learnt=True))


def test_rows_are_found_by_what_happened_to_them(chinese: XRay) -> None:
    assert chinese.all().tolist() == [0, 1, -1, 2]
    assert [chinese.row(place).number for place in chinese.all()] == [1, 2, 3, 4]
    assert chinese.truncated().tolist() == [1]
    assert chinese.row(1).tokens == 64
    assert chinese.row(1).lost > 0
    assert chinese.longest()[0] == 1
    assert chinese.numbered({3, 4}).tolist() == [2, -1]
    assert (chinese.rows, chinese.skipped_rows) == (4, 1)


def test_a_row_is_reached_by_its_number_or_the_next_one(chinese: XRay) -> None:
    rows = chinese.all()
    assert [chinese.nearest(rows, number) for number in (1, 3, 4, 99)] == [0, 2, 3, 3]
    assert chinese.nearest(rows[[0, 3]], 2) == 1


def test_a_skipped_row_is_read_from_the_file_with_its_reason(chinese: XRay) -> None:
    row = chinese.page(chinese.all())[2]
    assert (row.number, row.reason) == (3, Remark("empty_answer"))
    assert text(chinese, -1) == "instruction: 空\noutput: "


def test_a_search_tells_what_it_has_found_while_it_goes_on(
    tokenizer: PreTrainedTokenizerFast, jsonl: Jsonl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.engine.data.xray._AT_ONCE", 2)
    rows = [
        {"prompt": f"Question {number}", "completion": "PARIS" if number in (1, 4) else "no"} for number in range(6)
    ]
    xray = open_xray(DataSource(path=jsonl(rows)), tokenizer, "chat")
    found: list[int] = []
    xray.search("paris", found)
    assert found == [1, 4]

    def stop(_stage: str, done: int, _total: int) -> None:
        if done >= 2:
            raise Cancelled

    found = []
    with pytest.raises(Cancelled):
        xray.search("paris", found, stop)
    assert found == [1]


def test_lengths_are_counted_whole_and_a_length_is_suggested(tokenizer: PreTrainedTokenizerFast, jsonl: Jsonl) -> None:
    rows = [{"prompt": "hello", "completion": "world " * words} for words in [5] * 90 + [60] * 10]
    whole = open_xray(DataSource(path=jsonl(rows)), tokenizer, "chat", max_length=1000)
    cut = open_xray(DataSource(path=jsonl(rows)), tokenizer, "chat", max_length=32)
    histogram = cut.histogram()
    assert (sum(histogram.kept), sum(histogram.cut), histogram.share) == (90, 10, 0.1)
    assert histogram.longest == whole.lengths.max()
    places = np.digitize([whole.lengths[0], whole.lengths[-1]], histogram.edges) - 1
    assert (histogram.kept[places[0]], histogram.cut[places[1]]) == (90, 10)
    rounded = -(-int(whole.lengths.max()) // 64) * 64
    assert cut.suggestion() == LengthSuggestion(rounded, 0.0)
    assert cut.suggestion(limit=40) == LengthSuggestion(40, 0.1)
    assert cut.suggestion(limit=32) is None
    assert whole.suggestion() is None


def test_one_endless_row_does_not_decide_the_length(tokenizer: PreTrainedTokenizerFast, jsonl: Jsonl) -> None:
    rows = [{"prompt": "hello", "completion": "world " * words} for words in [40] * 299 + [4000]]
    suggestion = open_xray(DataSource(path=jsonl(rows)), tokenizer, "chat", max_length=32).suggestion()
    assert suggestion is not None
    assert suggestion.max_length < 1000
    assert suggestion.share == pytest.approx(1 / 300)


def test_rows_whose_answers_begin_behind_the_longest_length_count_in_the_lengths(
    tokenizer: PreTrainedTokenizerFast, jsonl: Jsonl
) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": "hello", "completion": "world"},
        {"prompt": "hello " * 90, "completion": "world"},
    ]
    xray = open_xray(DataSource(path=jsonl(rows)), tokenizer, "chat", max_length=32)
    assert sum(xray.histogram().cut) == 1
    assert len(xray.truncated()) == 0


def test_56_where_every_answer_is_cut_away_one_length_is_suggested_everywhere(
    tokenizer: PreTrainedTokenizerFast, jsonl: Jsonl
) -> None:
    source = DataSource(path=jsonl([{"prompt": "long " * 90 * size, "completion": "Yes."} for size in (1, 2, 3)]))
    xray = open_xray(source, tokenizer, "chat", max_length=16)
    assert (xray.rows, xray.skipped_rows, sum(xray.histogram().cut)) == (3, 3, 3)
    assert [row.number for row in xray.page(xray.all())] == [1, 2, 3]
    suggestion = xray.suggestion()
    assert suggestion is not None
    found = inspect_data(source, tokenizer, "chat", max_length=16)
    assert found.problems[0].text().endswith(f"set the longest row to {suggestion.max_length}.")
    assert [finding.remedy for finding in found.findings] == [
        Remedy("raise_max_length", "max_length", suggestion.max_length)
    ]
    assert open_xray(source, tokenizer, "chat", max_length=suggestion.max_length).skipped_rows == 0


def test_where_all_rows_are_skipped_they_are_shown_and_a_run_is_still_refused(
    tokenizer: PreTrainedTokenizerFast, jsonl: Jsonl
) -> None:
    source = DataSource(path=jsonl([{"prompt": "hello", "completion": ""}] * 2))
    xray = open_xray(source, tokenizer, "chat")
    assert [row.reason for row in xray.page(xray.all())] == [Remark.of("empty_field", field="completion")] * 2
    assert (sum(xray.histogram().kept), xray.suggestion()) == (0, None)
    with pytest.raises(DataError, match="No row of"):  # also from the cache, where the X-ray has put it
        prepare_data(DataConfig(sources=(source,)), tokenizer, "chat", 0)


def test_a_csv_of_odd_headers_opens_as_it_is_mapped(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("Nr,Was gefragt wird, Réponse ✓\n1,hello,world\n2,Paris?,yes\n", encoding="utf-8")
    source = DataSource(path=str(path), columns={"prompt": "Was gefragt wird", "completion": "Réponse ✓"})
    xray = open_xray(source, tokenizer, "chat")
    assert "world" in text(xray, 0)
