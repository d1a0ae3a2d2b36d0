"""From sources to the rows of a run: split, mixed, counted, cached, and stopped when the user says so."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from transformers import PreTrainedTokenizerFast

from studio.config import DataConfig, DataSource
from studio.engine.data import cache, tokenise, workers
from studio.engine.data.examples import open_source
from studio.engine.data.inspect import inspect_data
from studio.engine.data.prepare import PreparedData, prepare_data
from studio.engine.data.report import Remark, RowSkipped, Tally
from studio.engine.data.rows import RowStore
from studio.errors import Cancelled, DataError
from studio.files import is_file
from tests.limits import ends

Jsonl = Callable[..., str]
Rows = list[dict[str, Any]]


def chat(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def numbered(count: int, word: str = "row") -> Rows:
    return [chat(f"{word} {number}?", f"Answer {number}.") for number in range(count)]


@pytest.fixture
def prepare(tokenizer: PreTrainedTokenizerFast, jsonl: Jsonl) -> Callable[..., PreparedData]:
    """Prepare domain rows, and general ones where they are given."""

    def run(domain: Rows, general: Rows | None = None, seed: int = 0, **options: Any) -> PreparedData:
        sources = [DataSource(path=jsonl(domain, "domain.jsonl"))]
        if general is not None:
            sources.append(DataSource(path=jsonl(general, "general.jsonl"), role="general"))
        return prepare_data(DataConfig(sources=tuple(sources), **options), tokenizer, "chat", seed)

    return run


def content(store: RowStore) -> list[tuple[list[int], list[int], str, int]]:
    return [(row.input_ids.tolist(), row.labels.tolist(), row.source, row.number) for row in store]


def texts(store: RowStore, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    return [tokenizer.decode(row.input_ids) for row in store]


def test_rows_are_split_and_keep_their_place_in_the_file(prepare: Any, tmp_path: Path) -> None:
    data = prepare(numbered(20), validation_fraction=0.1)
    assert (len(data.train), len(data.validation)) == (18, 2)
    numbers = [row.number for store in (data.train, data.validation) for row in store]
    assert sorted(numbers) == list(range(1, 21))
    assert {row.source for row in data.train} == {str(tmp_path / "domain.jsonl")}


def test_labels_are_the_tokens_where_they_are_learnt_and_ignored_elsewhere(
    prepare: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    data = prepare(numbered(3))
    for place, row in enumerate(data.train):
        assert len(row.labels) == len(row.input_ids) == data.train.lengths[place]
        assert all(label in (-100, token) for label, token in zip(row.labels, row.input_ids, strict=True))
        kept = [label for label in row.labels if label != -100]
        assert len(kept) == data.train.supervised[place]
        assert tokenizer.decode(kept) == f"Answer {row.number - 1}.<|im_end|>"


def test_the_same_seed_gives_the_same_data_and_another_seed_another_split(prepare: Any) -> None:
    first, again, other = (prepare(numbered(40), seed=seed, validation_fraction=0.2) for seed in (1, 1, 2))
    assert content(first.validation) == content(again.validation)
    assert (first.order.epoch(3) == again.order.epoch(3)).all()
    assert content(first.validation) != content(other.validation)


def test_54_a_single_row_is_trained_on_with_nothing_held_out(prepare: Any) -> None:
    data = prepare(numbered(1), validation_fraction=0.5)
    assert (len(data.train), len(data.validation)) == (1, 0)
    assert "Nothing is held out" in data.report.problems[0].text()


def test_55_fewer_rows_than_a_batch_still_make_an_update_in_every_epoch(prepare: Any) -> None:
    data = prepare(numbered(3), validation_fraction=0.0)
    batches = [data.batch(number, 8) for number in range(2)]
    assert [sorted(row.number for row in batch) for batch in batches] == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize(("fraction", "held"), [(0.0, 0), (0.5, 2), (0.01, 1)])
def test_60_the_share_held_out_may_be_nothing_or_half(fraction: float, held: int, prepare: Any) -> None:
    assert len(prepare(numbered(4), validation_fraction=fraction).validation) == held


def test_53_repeated_rows_are_counted_and_never_on_both_sides(prepare: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    data = prepare(numbered(5) * 4, validation_fraction=0.3)
    assert not set(texts(data.train, tokenizer)) & set(texts(data.validation, tokenizer))
    assert len(data.validation) > 0
    assert [(one.name, one.count) for one in data.findings] == [("duplicates", 15)]


def test_38_a_file_given_twice_leaks_nothing_and_is_said(jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast) -> None:
    source = DataSource(path=jsonl(numbered(10)))
    data = prepare_data(DataConfig(sources=(source, source), validation_fraction=0.2), tokenizer, "chat", 0)
    assert not set(texts(data.train, tokenizer)) & set(texts(data.validation, tokenizer))
    assert any("is listed 2 times" in problem.text() for problem in data.report.problems)


def test_general_rows_are_mixed_in_at_the_share_that_was_set(prepare: Any) -> None:
    data = prepare(numbered(40), numbered(30, "general"), replay_ratio=0.2, validation_fraction=0.0)
    assert data.order.rows_per_epoch == 50
    assert [int((data.train.roles == role).sum()) for role in ("domain", "general")] == [40, 30]
    drawn = [data.train.roles[index] for index in data.order.epoch(0)]
    assert drawn.count("general") == 10


def test_general_rows_are_never_held_out_and_held_out_rows_are_never_rehearsed(
    prepare: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    data = prepare(numbered(10), numbered(10), replay_ratio=0.5, validation_fraction=0.5)
    assert set(data.validation.roles) == {"domain"}
    assert not set(texts(data.train, tokenizer)) & set(texts(data.validation, tokenizer))
    assert any("are not trained on" in problem.text() for problem in data.report.problems)


def test_a_share_of_general_rows_without_any_is_refused(prepare: Any) -> None:
    with pytest.raises(DataError, match="general share is 20% but no source has the role General"):
        prepare(numbered(3), replay_ratio=0.2)


def test_general_rows_without_a_share_are_left_out_and_said(prepare: Any) -> None:
    data = prepare(numbered(5), numbered(5, "general"))
    assert "general" not in data.train.roles
    assert any("general share is 0" in problem.text() for problem in data.report.problems)


def weighed(jsonl: Jsonl, *sources: tuple[str, int, str, float]) -> tuple[DataSource, ...]:
    """Sources by name, number of rows, role and weight."""
    return tuple(
        DataSource(path=jsonl(numbered(rows, name), f"{name}.jsonl"), role=role, weight=weight)  # type: ignore[arg-type]
        for name, rows, role, weight in sources
    )


def drawn_by_file(data: PreparedData, epoch: int) -> Counter[str]:
    return Counter(Path(data.train[int(place)].source).stem for place in data.order.epoch(epoch))


def test_weights_decide_how_often_the_rows_of_a_file_are_seen(jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast) -> None:
    sources = weighed(
        jsonl,
        ("replay", 30, "general", 1.0),
        ("twice", 6, "domain", 2.0),
        ("single", 1, "general", 30.0),
        ("plain", 8, "domain", 1.0),
    )
    config = DataConfig(sources=sources, replay_ratio=0.2, mixing="blocks", block_rows=4, validation_fraction=0.0)
    data = prepare_data(config, tokenizer, "chat", 0)
    counts = [drawn_by_file(data, epoch) for epoch in range(2)]
    assert [(one["twice"], one["plain"]) for one in counts] == [(12, 8), (12, 8)]
    assert counts[0] + counts[1] == Counter(twice=24, plain=16, replay=5, single=5)


def test_a_weight_of_0_leaves_a_file_out_of_everything(jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast) -> None:
    sources = weighed(jsonl, ("out", 20, "domain", 0.0), ("plain", 8, "domain", 1.0))
    data = prepare_data(DataConfig(sources=sources, validation_fraction=0.25), tokenizer, "chat", 0)
    assert {Path(row.source).stem for store in (data.train, data.validation) for row in store} == {"plain"}
    assert data.report.rows == 8


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ((0.0, 1.0), "Every source of the role Domain has the weight 0"),
        ((1.0, 0.0), "general share is 20% but every source of the role General has the weight 0"),
    ],
)
def test_a_role_whose_files_are_all_left_out_is_refused(
    weights: tuple[float, float], sentence: str, jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast
) -> None:
    sources = weighed(jsonl, ("new", 5, "domain", weights[0]), ("old", 5, "general", weights[1]))
    with pytest.raises(DataError, match=sentence):
        prepare_data(DataConfig(sources=sources, replay_ratio=0.2), tokenizer, "chat", 0)


def test_weights_count_the_rows_that_are_left_when_bad_ones_are_skipped(
    jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast
) -> None:
    mended = [*numbered(6), *(chat(f"bad {number}", "") for number in range(10))]
    sources = (
        DataSource(path=jsonl(mended, "cut.jsonl"), weight=1.5),
        DataSource(path=jsonl(numbered(4, "other"), "plain.jsonl")),
        DataSource(path=jsonl(numbered(1, "general"), "old.jsonl"), role="general"),
    )
    config = DataConfig(sources=sources, replay_ratio=0.35, validation_fraction=0.0)
    data = prepare_data(config, tokenizer, "chat", 0)
    assert drawn_by_file(data, 0) == Counter(cut=9, plain=4, old=7)  # 13·0.35 / 0.65 general rows, all of them the one


def test_data_without_a_domain_source_is_refused(jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast) -> None:
    source = DataSource(path=jsonl(numbered(3)), role="general")
    with pytest.raises(DataError, match="No source has the role Domain"):
        prepare_data(DataConfig(sources=(source,)), tokenizer, "chat", 0)


def test_rows_that_cannot_teach_are_skipped_and_counted_by_reason(prepare: Any) -> None:
    rows = [*numbered(4), chat("a", ""), {"messages": None}, chat("b", " "), chat("long " * 900, "c")]
    report = prepare(rows, max_length=64).report
    assert report.rows == 8
    assert {reason.text(): count for reason, count in report.skipped.items()} == {
        "the answer is empty": 2,
        '"messages" is not a list of messages': 1,
        "the answer begins behind the longest length": 1,
    }
    numbers = [problem.text().rpartition("because ")[2] for problem in report.problems]
    assert numbers[:2] == ["the answer is empty (row 5, 7).", '"messages" is not a list of messages (row 6).']


def test_45_rows_that_the_template_refuses_are_listed(jsonl: Jsonl, make_tokenizer: Any) -> None:
    strict = make_tokenizer(
        "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}"
        "{{ m['role'] + ': ' + m['content'] + '<|im_end|>' }}{% endfor %}"
    )
    twice = {"messages": [{"role": "user", "content": "a"}, *chat("b", "c")["messages"]]}
    source = DataSource(path=jsonl([*numbered(2), twice]))
    report = prepare_data(DataConfig(sources=(source,)), strict, "chat", 0).report
    assert report.problems[0].text().endswith("because the chat template refuses it (roles must alternate) (row 3).")


def test_when_no_row_can_teach_the_sentence_names_the_main_reason(prepare: Any) -> None:
    with pytest.raises(DataError, match="2 of 3 are skipped because the answer is empty"):
        prepare([chat("a", ""), chat("b", ""), {"messages": []}])


def test_56_when_every_row_is_too_long_a_length_is_suggested(prepare: Any) -> None:
    rows = [chat("long " * 40, f"answer {number}") for number in range(20)]
    with pytest.raises(DataError, match="within the first 16 tokens") as refusal:
        prepare(rows, max_length=16)
    suggested = int(str(refusal.value).removesuffix(".").rsplit(" ", 1)[1])
    data = prepare(rows, max_length=suggested)
    assert data.report.skipped == {}
    assert "truncated" not in {finding.name for finding in data.findings}


def test_57_a_cut_row_is_kept_while_part_of_its_answer_is_left(prepare: Any) -> None:
    data = prepare([chat("a", "word " * 200), *numbered(3)], max_length=32, validation_fraction=0.0)
    assert data.train.lengths.max() == 32
    assert data.train.supervised.min() > 0
    assert [(finding.name, finding.rows) for finding in data.findings] == [("truncated", (1,))]


def test_rows_of_one_conversation_stay_on_one_side(jsonl: Jsonl, make_tokenizer: Any) -> None:
    rewriting = make_tokenizer(
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ '[last]' if loop.last else '' }}{{ m['content'] }}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    rows = [{"messages": chat(f"a{n}", "b")["messages"] + chat(f"c{n}", "d")["messages"]} for n in range(10)]
    config = DataConfig(sources=(DataSource(path=jsonl(rows)),), validation_fraction=0.3)
    data = prepare_data(config, rewriting, "chat", 0)
    assert (len(data.train), len(data.validation)) == (14, 6)
    assert not {row.number for row in data.train} & {row.number for row in data.validation}
    assert data.findings == ()


def test_a_model_without_an_end_token_is_warned_of(jsonl: Jsonl, make_tokenizer: Any) -> None:
    config = DataConfig(sources=(DataSource(path=jsonl([{"text": "hello"}, {"text": "world"}])),))
    problems = prepare_data(config, make_tokenizer(None, eos_token=None), "base", 0).report.problems
    assert "no end token" in problems[0].text()


# The cache


def count_builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    built: list[str] = []
    real = tokenise._batches

    def batches(source: DataSource, *rest: Any) -> Iterator[Any]:
        built.append(source.path)
        return real(source, *rest)

    monkeypatch.setattr(tokenise, "_batches", batches)
    return built


def test_equal_files_are_tokenised_once(prepare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    built = count_builds(monkeypatch)
    first, again = prepare(numbered(9)), prepare(numbered(9), seed=4)
    assert len(built) == 1
    assert first.report == again.report


@pytest.mark.parametrize("change", [{"max_length": 32}, {"train_on": "all"}])
def test_other_settings_are_tokenised_anew(change: dict[str, Any], prepare: Any, monkeypatch: Any) -> None:
    built = count_builds(monkeypatch)
    prepare(numbered(9))
    prepare(numbered(9), **change)
    assert len(built) == 2


def test_another_template_or_file_is_tokenised_anew(
    prepare: Any, jsonl: Jsonl, make_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = count_builds(monkeypatch)
    prepare(numbered(9))
    prepare(numbered(10))
    other = make_tokenizer("{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}")
    prepare_data(DataConfig(sources=(DataSource(path=jsonl(numbered(9))),)), other, "chat", 0)
    assert len(built) == 3


@pytest.mark.parametrize("name", ["**/*.arrow", "record.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "remove"])
def test_a_damaged_cache_is_made_again(name: str, damage: str, prepare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = content(prepare(numbered(9)).train)
    (file,) = cache.cache_folder().glob(f"*/{name}")
    stored = file.read_bytes()
    middle = len(stored) // 2
    flipped = stored[:middle] + bytes([stored[middle] ^ 0xFF]) + stored[middle + 1 :]
    file.unlink()
    if damage != "remove":
        file.write_bytes({"flip": flipped, "cut": stored[:middle], "empty": b""}[damage])
    built = count_builds(monkeypatch)
    assert content(prepare(numbered(9)).train) == whole
    assert len(built) == 1


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["**/*.arrow", "record.json"])
def test_a_cache_in_which_no_file_stands_is_made_again(name: str, kind: str, prepare: Any) -> None:
    prepare(numbered(9))
    (file,) = cache.cache_folder().glob(f"*/{name}")
    file.unlink()
    os.mkfifo(file) if kind == "pipe" else file.symlink_to("/dev/zero")
    assert ends(lambda: prepare(numbered(9))) == ""
    assert is_file(file)


def test_a_cache_that_cannot_be_written_is_named(prepare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FINETUNE_STUDIO_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be written .* set FINETUNE_STUDIO_CACHE"):
        prepare(numbered(3))


def test_tables_that_nobody_used_for_long_are_removed(prepare: Any) -> None:
    prepare(numbered(9))
    (cache.cache_folder() / "0123.arrow").write_bytes(b"as versions before wrote it")
    long_ago = time.time() - 40 * 86400
    for file in cache.cache_folder().iterdir():
        os.utime(file, (long_ago, long_ago))
    prepare(numbered(10))
    assert len(list(cache.cache_folder().iterdir())) == 1


def test_two_that_make_the_same_rows_at_once_do_not_disturb_each_other(
    jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DataConfig(sources=(DataSource(path=jsonl(numbered(9))),))
    real = tokenise._batches
    others: list[PreparedData] = []

    def batches(*arguments: Any) -> Iterator[Any]:
        for batch in real(*arguments):
            monkeypatch.setattr(tokenise, "_batches", real)
            others.append(prepare_data(config, tokenizer, "chat", 0))
            yield batch

    monkeypatch.setattr(tokenise, "_batches", batches)
    assert content(prepare_data(config, tokenizer, "chat", 0).train) == content(others[0].train)
    assert len(list(cache.cache_folder().iterdir())) == 1


def test_of_very_many_reasons_some_are_told_apart_and_the_rest_counted_together() -> None:
    tally, part = Tally(), Tally()
    for number in range(2000):
        (tally, part)[number % 2].skip(number, RowSkipped(Remark.of("unknown_role", role=f"r{number}")))
    tally.add(part)
    assert len(tally.skipped) == 21
    assert tally.skipped.total() == 2000
    assert tally.skipped[Remark.of("unknown_role", role="…")] == 1980
    assert {reason for _, reason in tally.examples} == set(tally.skipped)


def test_a_report_comes_back_from_the_cache_as_it_was() -> None:
    tally = Tally(rows=7)
    tally.skip(3, RowSkipped(Remark.of("empty_field", field="a")))
    tally.skip(4, RowSkipped(Remark("answer_cut_off"), needed=99))
    tally.notes[Remark("divided")] += 2
    assert Tally.from_json(json.loads(json.dumps(tally.to_json()))) == tally


def test_a_file_replaced_after_it_was_looked_at_does_not_poison_the_cache(
    jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast
) -> None:
    path = jsonl(numbered(9))
    config = DataConfig(sources=(DataSource(path=path),), validation_fraction=0.0)
    replaced = False

    def replace(stage: str, done: int, total: int) -> None:
        nonlocal replaced
        if stage == "reading_data" and done == total and not replaced:  # the last of it was hashed
            replaced = True
            jsonl(numbered(9, "other"))

    with pytest.raises(DataError, match="changed while it was read"):
        prepare_data(config, tokenizer, "chat", 0, replace)
    jsonl(numbered(9))
    assert "row 0?" in texts(prepare_data(config, tokenizer, "chat", 0).train, tokenizer)[0]


def test_the_cache_lies_in_the_app_s_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FINETUNE_STUDIO_CACHE")
    monkeypatch.setenv("FINETUNE_STUDIO_HOME", str(tmp_path / "elsewhere"))
    assert cache.cache_folder() == tmp_path / "elsewhere" / "cache" / "data"


def test_beyond_its_limit_the_cache_loses_what_was_not_used_for_longest(
    prepare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(numbered(9))
    (oldest,) = cache.cache_folder().iterdir()
    prepare(numbered(10))
    os.utime(oldest, (time.time() - 3600,) * 2)
    sizes = [sum(file.stat().st_size for file in place.iterdir()) for place in cache.cache_folder().iterdir()]
    monkeypatch.setattr(cache, "LIMIT", sum(sizes) + 100)
    prepare(numbered(11))
    assert not oldest.exists()
    assert len(list(cache.cache_folder().iterdir())) == 2


def test_a_disk_with_too_little_space_is_named_before_anything_is_written(
    prepare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_RESERVE", 2**62)
    with pytest.raises(DataError, match=r"has .* left; the tokens of this file need .* set FINETUNE_STUDIO_CACHE"):
        prepare(numbered(3))
    assert not list(cache.cache_folder().iterdir())


# Several processes


def awkward(count: int) -> Rows:
    """Rows of every fate: used, skipped, cut, with remarks."""
    return [
        row
        for number in range(count)
        for row in (
            *numbered(3, f"part {number}"),
            chat("empty", ""),
            chat("cut", "word " * 200),
            chat("{{name}}", "spelled <|im_end|>") | {"train": f"perhaps {number}", "extra": "x"},
        )
    ]


def test_several_processes_give_what_one_gives_bit_for_bit(
    jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_ROWS", 16)
    config = DataConfig(sources=(DataSource(path=jsonl(awkward(20))),), max_length=64)
    alone = prepare_data(config, tokenizer, "chat", 0)
    (place,) = cache.cache_folder().iterdir()
    stored = {file.name: file.read_bytes() for file in place.iterdir()}
    shutil.rmtree(place)
    monkeypatch.setattr(tokenise, "processes_for", lambda _: 2)
    together = prepare_data(config, tokenizer, "chat", 0)
    assert {file.name: file.read_bytes() for file in place.iterdir()} == stored
    assert together.report == alone.report
    assert content(together.train) == content(alone.train)
    assert not [child for child in psutil.Process().children() if "workers" in " ".join(child.cmdline())]


def test_cancel_ends_the_processes(
    jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenise, "processes_for", lambda _: 2)
    begun = threading.active_count()
    config = DataConfig(sources=(DataSource(path=jsonl(numbered(50))),))

    def cancel(stage: str, done: int, total: int) -> None:
        if stage == "tokenising" and done == total:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        prepare_data(config, tokenizer, "chat", 0, cancel)
    assert not [child for child in psutil.Process().children() if "workers" in " ".join(child.cmdline())]
    assert threading.active_count() == begun


def test_a_process_that_dies_is_named(
    jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenise, "processes_for", lambda _: 2)
    monkeypatch.setattr(workers, "_encode", sys.exit)
    with pytest.raises(DataError, match="reads rows ended"):
        prepare_data(DataConfig(sources=(DataSource(path=jsonl(numbered(5))),)), tokenizer, "chat", 0)


# Cancel, changes and size


class _Cancel:
    """Cancels at the first report of a stage."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage == self._stage:
            raise Cancelled("Cancelled.")


@pytest.mark.parametrize("stage", ["reading_data", "tokenising"])
def test_cancel_stops_and_leaves_nothing_half_done(
    stage: str, jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast
) -> None:
    config = DataConfig(sources=(DataSource(path=jsonl(numbered(50))),))
    with pytest.raises(Cancelled):
        prepare_data(config, tokenizer, "chat", 0, _Cancel(stage))
    folder = cache.cache_folder()
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.parquet", "rows.txt"])
def test_cancel_stops_the_reading_of_any_file(name: str, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / name
    if name.endswith(".parquet"):
        parquet.write_table(pa.table({"text": ["hello"] * 500}), path)
    else:
        lines = {"rows.json": '[{"text": "a"}]', "rows.csv": "text\nhello\n"}.get(name, '{"text": "a"}\n' * 500)
        path.write_text(lines, encoding="utf-8")
    with pytest.raises(Cancelled):
        inspect_data(DataSource(path=str(path)), progress=_Cancel("reading_data"))


def test_progress_reports_bytes_up_to_the_end(jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast) -> None:
    path = jsonl(numbered(300))
    seen: list[tuple[str, int, int]] = []
    config = DataConfig(sources=(DataSource(path=path),))
    prepare_data(config, tokenizer, "chat", 0, lambda *report: seen.append(report))
    size = Path(path).stat().st_size
    for stage in ("reading_data", "tokenising"):
        assert [(done, total) for name, done, total in seen if name == stage][-1] == (size, size)


def test_35_a_file_that_changes_while_it_is_read_is_refused(jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast) -> None:
    path = Path(jsonl(numbered(50)))
    config = DataConfig(sources=(DataSource(path=str(path)),))

    changed = False

    def change(stage: str, done: int, total: int) -> None:
        nonlocal changed
        if stage == "tokenising" and not changed:
            changed = True
            with path.open("a", encoding="utf-8") as file:
                file.write(" \n")

    with pytest.raises(DataError, match="changed while it was read"):
        prepare_data(config, tokenizer, "chat", 0, change)


def test_35_the_report_says_which_content_was_read(jsonl: Jsonl, prepare: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "domain.jsonl")
    first, second = (prepare(numbered(count)).report.fingerprints[path] for count in (3, 4))
    assert len(first) == 64
    assert first != second


def test_35_a_file_that_is_gone_is_named(jsonl: Jsonl, tokenizer: PreTrainedTokenizerFast) -> None:
    path = Path(jsonl(numbered(3)))
    path.unlink()
    with pytest.raises(DataError, match="cannot be read: no such file"):
        prepare_data(DataConfig(sources=(DataSource(path=str(path)),)), tokenizer, "chat", 0)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.txt"])
def test_36_a_file_is_streamed_and_never_held_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    row = '{"text": "' + "x" * 500 + '"}'
    with path.open("w", encoding="utf-8") as file:
        file.write({"rows.json": "[", "rows.csv": "text\n"}.get(name, ""))
        separator = ",\n" if name == "rows.json" else "\n"
        text = row if "json" in name else "x" * 500
        file.write(separator.join([text] * 12_000))
        file.write("]" if name == "rows.json" else "")
    tracemalloc.start()
    count = sum(1 for _ in open_source(DataSource(path=str(path)), lambda *_: None).examples())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 12_000
    assert peak < path.stat().st_size / 3
