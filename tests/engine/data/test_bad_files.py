"""Bad dataset files, by their number in the project's list: one sentence that names the place, or exact text."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from studio.config import DataSource
from studio.engine.control import no_progress
from studio.engine.data.examples import OpenSource, open_source
from studio.engine.data.inspect import inspect_data
from studio.engine.data.readers import open as reader
from studio.engine.data.readers.json_elements import ElementScanner
from studio.engine.data.readers.lines import TextFile
from studio.engine.data.readers.open import read_rows
from studio.engine.data.report import Tally
from studio.errors import DataError

ROW = '{"prompt": "Why?", "completion": "Because."}'
PAIR = ("Why?", "Because.")
LIST = f"[{ROW}, {ROW}]"


@dataclass(frozen=True, kw_only=True)
class Case:
    item: str
    name: str
    content: bytes | str
    error: str = ""  # what the sentence must say after the file's name
    rows: list[tuple[str, ...]] = field(default_factory=list)
    skipped: int = 0
    options: dict[str, Any] = field(default_factory=dict)


def parquet(columns: dict[str, list[Any]], **options: Any) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("rows.jsonl", ROW)
    return buffer.getvalue()


def deep(depth: int) -> str:
    return '{"prompt": ' + "[" * depth + "]" * depth + ', "completion": "x"}'


SKIP = {"bad_rows": "skip"}
REFUSED = [
    Case(item="1-empty", name="a.jsonl", content=b"", error="is empty: it has no rows"),
    Case(item="1-empty-csv", name="a.csv", content=b"", error="is empty"),
    Case(item="2-blank-lines", name="a.jsonl", content="\n \n\r\n", error="has no rows"),
    Case(item="2-blank-json", name="a.json", content=" \n", error="has no rows"),
    Case(item="2-empty-list", name="a.json", content="[]", error="has no rows"),
    Case(
        item="5-utf16",
        name="a.jsonl",
        content=ROW.encode("utf-16"),
        error="UTF-16 text; set its text encoding to utf-16",
    ),
    Case(
        item="5-utf16-no-mark", name="a.csv", content="prompt,completion\na,b\n".encode("utf-16-le"), error="utf-16-le"
    ),
    Case(item="5-utf32", name="a.jsonl", content=ROW.encode("utf-32"), error="utf-32"),
    Case(
        item="6-latin1",
        name="a.jsonl",
        content=(ROW + "\n" + ROW.replace("Why", "Caf\xe9")).encode("latin-1"),
        error="line 2: byte 0xE9 at offset 60 is not UTF-8 text .*cp1252",
    ),
    Case(
        item="6-gbk",
        name="a.csv",
        content="prompt,completion\n你好,再见\n".encode("gbk"),
        error="line 2: byte 0x.*gb18030",
    ),
    Case(item="6-list", name="a.json", content=b'[\n{"prompt": "\xff"}]', error="line 2: byte 0xFF at offset 14"),
    Case(
        item="6-unknown",
        name="a.jsonl",
        content=ROW,
        error="not a known text encoding",
        options={"encoding": "klingon"},
    ),
    Case(
        item="6-no-text", name="a.jsonl", content=ROW, error="not a known text encoding", options={"encoding": "zlib"}
    ),
    Case(item="7-mixed", name="a.jsonl", content=ROW.encode() + b'\n{"prompt": "\xe9"}\n', error="line 2: byte 0xE9"),
    Case(
        item="8-broken", name="a.jsonl", content=f'{ROW}\n{{"prompt": oops}}\n{ROW}\n', error="line 2: .* at column 12"
    ),
    Case(item="8-in-list", name="a.json", content=f'[{ROW},\n {{"prompt": oops}}]', error="line 2: .* at column 13"),
    Case(
        item="9-truncated", name="a.jsonl", content=f'{ROW}\n{{"prompt": "cut', error="line 2: .*file may be incomplete"
    ),
    Case(
        item="9-truncated-list", name="a.json", content=f'[{ROW}, {{"prompt": "cut', error="line 1: .*may be incomplete"
    ),
    Case(item="11-trailing-comma", name="a.json", content=f"[{ROW},\n]", error="line 2: .*a comma too many.* column 1"),
    Case(item="11-two-commas", name="a.json", content=f"[{ROW},,{ROW}]", error="line 1: .*a comma too many"),
    Case(item="11-after-the-list", name="a.json", content=f"[{ROW}] {ROW}", error="line 1: .*outside the list"),
    Case(item="12-null", name="a.json", content="null", error="line 1: .*and this is null"),
    Case(item="12-null-jsonl", name="a.jsonl", content="null\n", error="line 1: .*and this is null"),
    Case(item="13-scalar", name="a.json", content="42", error="line 1: .*and this is a number"),
    Case(item="13-list-of-lists", name="a.jsonl", content="[[1, 2]]", error="line 1: .*and this is a list"),
    Case(item="13-true", name="a.jsonl", content="true", error="line 1: .*true or false"),
    Case(
        item="16-nan",
        name="a.jsonl",
        content='{"prompt": "x", "completion": NaN}',
        error='line 1: "completion" holds nan',
    ),
    Case(item="16-inf", name="a.json", content='[{"text": -Infinity}]', error='line 1: "text" holds -inf'),
    Case(item="17-surrogate", name="a.jsonl", content=ROW + '\n{"text": "\\ud800"}', error="line 2: half a character"),
    Case(
        item="18-raw-nul", name="a.jsonl", content=ROW + '\n{"prompt": "a\0b"}', error=r"line 2: the character U\+0000"
    ),
    Case(
        item="18-raw-control", name="a.txt", content="fine\nnot \x1b[31m fine", error=r"line 2: the character U\+001B"
    ),
    Case(item="18-csv", name="a.csv", content="text\na\0b\n", error=r"line 2: the character U\+0000"),
    Case(item="20-deep", name="a.jsonl", content=deep(2000), error="line 1: nested more than 100 levels deep"),
    Case(
        item="20-deep-list", name="a.json", content=f"[\n{deep(100_000)}]", error="line 2: nested more than 100 levels"
    ),
    Case(item="8-missing-end", name="a.jsonl", content=f'{{"prompt": "a"\n{ROW}\n', error="line 1: .* at column 15"),
    Case(item="24-no-format", name="a.jsonl", content='{"a": "1", "b": "2"}', error=r"fit no known format \(a, b\)"),
    Case(
        item="24-absent",
        name="a.jsonl",
        content=ROW,
        error="no column 'q' for prompt",
        options={"columns": {"prompt": "q"}},
    ),
    Case(
        item="24-field", name="a.jsonl", content=ROW, error="no column instruction, which", options={"format": "alpaca"}
    ),
    Case(
        item="24-strange-field",
        name="a.jsonl",
        content=ROW,
        error="no field answer",
        options={"format": "text", "columns": {"answer": "completion"}},
    ),
    Case(
        item="29-no-header",
        name="a.csv",
        content="What is it?,It is this.\nWhy?,Because.\n",
        error="line 1, does not look",
    ),
    Case(item="29-repeated", name="a.csv", content="prompt,prompt\na,b\n", error="two columns are called 'prompt'"),
    Case(item="30-header-only", name="a.csv", content="prompt,completion\n", error="has no rows"),
    Case(
        item="31-ragged", name="a.csv", content="prompt,completion\na,b\nc,d,e\n", error="line 3: the row has 3 cells"
    ),
    Case(item="31-open-quote", name="a.csv", content='prompt,completion\n"a,b\nc,d\n', error="line 2: not valid CSV"),
    Case(item="33-fake-parquet", name="a.parquet", content=ROW, error="not a Parquet file, or it is damaged"),
    Case(item="33-tiny", name="a.parquet", content="PA", error="not a Parquet file, or it is damaged"),
    Case(item="33-cut", name="a.parquet", content=parquet({"text": ["a"] * 99})[:-30], error="damaged or cut off"),
    Case(item="33-scrambled", name="a.parquet", content=b"PAR1" + b"\xff" * 64 + b"PAR1", error="damaged or cut off"),
    Case(item="37-gzip", name="a.jsonl", content=gzip.compress(ROW.encode()), error="is a gzip archive; unpack it"),
    Case(item="37-zip", name="a.csv", content=zipped(), error="is a ZIP archive"),
]
ACCEPTED = [
    Case(item="3-blank-between", name="a.jsonl", content=f"\n{ROW}\n\n \n{ROW}\n\n", rows=[PAIR, PAIR]),
    Case(item="4-mark-jsonl", name="a.jsonl", content=b"\xef\xbb\xbf" + ROW.encode(), rows=[PAIR]),
    Case(item="4-mark-json", name="a.json", content=b"\xef\xbb\xbf" + LIST.encode(), rows=[PAIR, PAIR]),
    Case(item="4-mark-csv", name="a.csv", content=b"\xef\xbb\xbfprompt,completion\nWhy?,Because.\n", rows=[PAIR]),
    Case(item="4-mark-inside", name="a.txt", content="\ufeffa\n\ufeffb".encode(), rows=[("a",), ("\ufeffb",)]),
    Case(
        item="5-named",
        name="a.jsonl",
        content=f"{ROW}\r\n{ROW}".encode("utf-16"),
        rows=[PAIR] * 2,
        options={"encoding": "utf-16"},
    ),
    Case(
        item="6-named",
        name="a.csv",
        content="prompt,completion\n你,好\n".encode("gbk"),
        rows=[("你", "好")],
        options={"encoding": "gbk"},
    ),
    Case(
        item="7-skip",
        name="a.jsonl",
        content=ROW.encode() + b'\n{"p": "\xe9"}\n' + ROW.encode(),
        rows=[PAIR] * 2,
        skipped=1,
        options=SKIP,
    ),
    Case(item="8-skip", name="a.jsonl", content=f"{ROW}\n{{oops\n{ROW}", rows=[PAIR] * 2, skipped=1, options=SKIP),
    Case(
        item="8-skip-in-list",
        name="a.json",
        content=f"[{ROW}, {{oops}}, {ROW}]",
        rows=[PAIR] * 2,
        skipped=1,
        options=SKIP,
    ),
    Case(item="10-crlf", name="a.jsonl", content=f"{ROW}\r\n{ROW}\r\n", rows=[PAIR] * 2),
    Case(item="10-lone-cr", name="a.jsonl", content=f"{ROW}\r{ROW}\r", rows=[PAIR] * 2),
    Case(item="10-lone-cr-csv", name="a.csv", content="prompt,completion\rWhy?,Because.\r", rows=[PAIR]),
    Case(item="13-strings", name="a.json", content='["One.", "Two."]', rows=[("One.",), ("Two.",)]),
    Case(item="14-wrapper", name="a.json", content=f'{{"version": 1, "data": {LIST}}}', rows=[PAIR] * 2),
    Case(item="14-pretty", name="a.json", content=json.dumps({"rows": json.loads(LIST)}, indent=2), rows=[PAIR] * 2),
    Case(
        item="14-pretty-rows",
        name="a.json",
        content="\n".join([json.dumps(json.loads(ROW), indent=1)] * 2),
        rows=[PAIR] * 2,
    ),
    Case(item="15-twice", name="a.jsonl", content='{"text": "a", "text": "b"}', rows=[("b",)]),
    Case(item="16-elsewhere", name="a.jsonl", content='{"text": "a", "score": NaN}', rows=[("a",)]),
    Case(item="17-pair", name="a.jsonl", content='{"text": "\\ud83d\\ude00"}', rows=[("😀",)]),
    Case(item="18-escaped", name="a.jsonl", content='{"text": "a\\u0000b\\u001f"}', rows=[("a\0b\x1f",)]),
    Case(
        item="21-types",
        name="a.jsonl",
        content='{"text": "1"}\n{"text": 2}\n{"text": 1.10}',
        rows=[("1",), ("2",), ("1.10",)],
    ),
    Case(
        item="22-big",
        name="a.jsonl",
        content='{"text": 123456789012345678901234567890}',
        rows=[("123456789012345678901234567890",)],
    ),
    Case(item="23-dates", name="a.jsonl", content='{"text": "2024-01-31T00:00:00Z"}', rows=[("2024-01-31T00:00:00Z",)]),
    Case(
        item="26-semicolon", name="a.csv", content="prompt;completion\nOne, two;Three\n", rows=[("One, two", "Three")]
    ),
    Case(item="26-tab", name="a.tsv", content="prompt\tcompletion\nOne, two\tThree\n", rows=[("One, two", "Three")]),
    Case(item="26-bar", name="a.csv", content="prompt|completion\na|b\n", rows=[("a", "b")]),
    Case(item="26-one-column", name="a.csv", content="text\nOne, two.\nThree.\n", rows=[("One, two.",), ("Three.",)]),
    Case(
        item="27-na",
        name="a.csv",
        content="prompt,completion\nNA,null\nNone,nan\n",
        rows=[("NA", "null"), ("None", "nan")],
    ),
    Case(item="28-zip", name="a.csv", content="prompt,completion\n08123,1e5\n", rows=[("08123", "1e5")]),
    Case(item="28-json", name="a.jsonl", content='{"prompt": "08123", "completion": "NA"}', rows=[("08123", "NA")]),
    Case(
        item="32-quotes",
        name="a.csv",
        content='prompt,completion\n"a\r\nb\n\nc","say ""hi"""\n',
        rows=[("a\r\nb\n\nc", 'say "hi"')],
    ),
    Case(
        item="33-sound",
        name="a.parquet",
        content=parquet({"prompt": ["08123"], "completion": ["NA"]}),
        rows=[("08123", "NA")],
    ),
    Case(item="33-no-suffix", name="rows", content=parquet({"text": [5, None, 7]}), rows=[("5",), ("7",)], skipped=1),
    Case(item="58-separators", name="a.txt", content="a\u2028b\x0bc\x85d\ne", rows=[("a\u2028b\x0bc\x85d",), ("e",)]),
]


def opened(path: Path, options: dict[str, Any]) -> tuple[OpenSource, list[tuple[str, ...]]]:
    source = open_source(DataSource(path=str(path), **options), no_progress)
    return source, [tuple(piece.text for piece in example.pieces) for _, example in source.examples()]


def written(tmp_path: Path, case: Case) -> Path:
    path = tmp_path / case.name
    path.write_bytes(case.content if isinstance(case.content, bytes) else case.content.encode())
    return path


def assert_one_sentence(error: DataError, path: Path) -> None:
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    assert str(path) in text
    assert "Error" not in text


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.item)
def test_a_bad_file_is_refused_in_one_sentence_that_names_the_place(case: Case, tmp_path: Path) -> None:
    path = written(tmp_path, case)
    with pytest.raises(DataError, match=case.error) as refusal:
        opened(path, case.options)
    assert_one_sentence(refusal.value, path)


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.item)
def test_an_unusual_file_is_read_with_its_exact_text(case: Case, tmp_path: Path) -> None:
    source, rows = opened(written(tmp_path, case), case.options)
    assert rows == case.rows
    assert source.tally.skipped.total() == case.skipped
    assert source.tally.rows == len(case.rows) + case.skipped


@pytest.mark.parametrize(
    ("item", "content", "problem"),
    [
        ("13", '["One."]', "1 of 1 rows is a bare string"),
        ("14", f'{{"data": {LIST}}}', '2 of 2 rows were taken from the list "data"'),
        ("15", '{"text": "a", "text": "b"}', "in 1 of 1 rows a key stands twice"),
        (
            "24",
            '{"text": "a"}\n{"text": "b"}\n{"other": "c"}',
            '1 of 3 rows is skipped because "text" is missing.*row 3',
        ),
        ("51", '{"text": "Dear {{ name }},"}', "1 row holds placeholders that were never filled in"),
        ("53", '{"text": "a"}\n{"text": "a"}', "1 row repeats an earlier row exactly"),
    ],
)
def test_what_is_accepted_with_a_doubt_is_said(item: str, content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content, encoding="utf-8")
    found = inspect_data(DataSource(path=str(path)))
    told = [*(remark.text() for remark in found.problems), *(finding.meaning() for finding in found.findings)]
    assert any(re.search(problem, text) for text in told), told


def test_19_a_line_of_30_megabytes_is_read_whole(tmp_path: Path) -> None:
    text = "word " * 6_000_000
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": text}) + "\n" + '{"text": "short"}\n', encoding="utf-8")
    _, rows = opened(path, {})
    assert rows == [(text,), ("short",)]


def test_19_a_row_of_30_megabytes_in_a_list_is_read_whole(tmp_path: Path) -> None:
    text = 'quote " and \\ ' * 2_000_000
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": text}, {"text": "short"}]), encoding="utf-8")
    _, rows = opened(path, {})
    assert rows == [(text,), ("short",)]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("It’s late", "cp1252"),
        ("Un café, c’est déjà assez", "cp1252"),
        ("Größe und Straße", "cp1252"),
        ("你好，再见。谢谢你的帮助", "gb18030"),
        ("Привет, как дела", "cp1251"),
        ("Привет, как дела", "koi8_r"),
        ("こんにちは、元気ですか", "shift_jis"),
        ("안녕하세요 여러분", "euc_kr"),
        ("Dziękuję, proszę usiąść", "cp1250"),
        ("Καλημέρα κόσμε", "cp1253"),
    ],
)
def test_6_the_encoding_in_which_the_bytes_read_as_words_is_named_first(
    text: str, encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=rf"set the file's encoding if it is {encoding}\b"):
        opened(path, {})


def test_19_a_list_with_one_huge_string_is_scanned_in_linear_time() -> None:
    class Counted(str):
        copied = 0
        __slots__ = ()

        def __add__(self, other: str) -> str:
            Counted.copied += len(self) + len(other)
            return Counted(str(self) + other)

        def __getitem__(self, place: Any) -> str:
            return Counted(super().__getitem__(place))

    scanner = ElementScanner(['["', *["x" * 100] * 2000, '"]'], listed=True)
    scanner._text = Counted("")
    assert len(list(scanner)) == 1
    assert Counted.copied < 4 * 200_000


def test_33_a_column_that_unfolds_to_far_more_than_it_is_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_SWOLLEN", 2**20)
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet({"text": ["x" * 2**20] * 8}, compression="zstd"))
    with pytest.raises(DataError, match=r"the column 'text' unfolds from .* to .*; is it a dataset"):
        opened(path, {})


def test_33_values_that_are_stored_once_are_not_unfolded_all_at_once(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "a.parquet"
    path.write_bytes(parquet({"text": ["x" * 2**19] * 64}))
    before = pa.total_allocated_bytes()
    rows = read_rows(DataSource(path=str(path)), Tally(), no_progress)
    next(rows)
    assert pa.total_allocated_bytes() - before < 16 * 2**20
    assert sum(1 for _ in rows) == 63


def test_33_a_file_of_16_kb_that_unfolds_to_half_a_gigabyte_is_read_in_a_few_megabytes(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet as pq

    count, length = 500, 2**20
    once = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["x" * length])
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": once}), path, compression="zstd")
    del once
    assert path.stat().st_size < 16 * 2**10
    before, peak = pa.total_allocated_bytes(), 0
    tracemalloc.start()
    for row in read_rows(DataSource(path=str(path)), Tally(), no_progress):
        assert len(row.values["text"]) == length
        peak = max(peak, pa.total_allocated_bytes() - before)
    _, of_python = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak + of_python < 24 * 2**20


def test_25_a_column_that_is_empty_in_every_row_is_refused(tmp_path: Path, jsonl: Callable[..., str]) -> None:
    path = jsonl([{"prompt": "a", "completion": None}, {"prompt": "b", "completion": None}])
    found = inspect_data(DataSource(path=path))
    assert found.problems[0].text() == (
        f'No row of {path} can teach: 2 of 2 are skipped because "completion" is missing or empty (the first is row 1).'
    )
    assert {column.name: column.coverage for column in found.columns} == {"prompt": 1.0, "completion": 0.0}


def refused(path: Path | str) -> str:
    with pytest.raises(DataError) as refusal:
        inspect_data(DataSource(path=str(path)))
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_34_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)


def test_34_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read: no such file" in refused(tmp_path / "gone.jsonl")


def test_34_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "b.jsonl")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    assert "cannot be read: too many levels" in refused(tmp_path / "a.jsonl")


def test_34_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    assert "a pipe" in refused(tmp_path / "a.jsonl")


def test_34_a_device_is_refused() -> None:
    assert "a device" in refused("/dev/zero")


def test_34_a_name_that_is_too_long_or_impossible_is_refused(tmp_path: Path) -> None:
    assert "cannot be read: file name too long" in refused(tmp_path / ("x" * 300))
    assert "cannot be read: embedded null byte" in refused(str(tmp_path) + "/a\0b")


def test_34_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(ROW)

    open_file = os.open

    def denied(name: Any, *arguments: Any, **more: Any) -> int:
        if name == path:
            raise PermissionError(13, "Permission denied")
        return open_file(name, *arguments, **more)

    monkeypatch.setattr(os, "open", denied)  # permission bits do not hold for root
    assert "cannot be read: permission denied" in refused(path)


@pytest.mark.parametrize("name", ["😀 数据.jsonl", "x" * 249 + ".jsonl", "a b.jsonl ", "tab\there.jsonl"])
def test_34_unusual_names_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / ".." / name
    path.write_text(ROW, encoding="utf-8")
    assert inspect_data(DataSource(path=str(path))).rows == 1


def test_34_space_round_a_path_is_forgiven(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(ROW)
    assert inspect_data(DataSource(path=f" {tmp_path / 'a.jsonl'} \n")).rows == 1


def test_34_a_drive_that_goes_away_while_it_is_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: TextFile) -> None:
        raise OSError(116, "Stale file handle")

    (tmp_path / "a.jsonl").write_text(ROW)
    monkeypatch.setattr(TextFile, "lines", gone)
    assert "a.jsonl cannot be read: stale file handle" in refused(tmp_path / "a.jsonl")


def test_34_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "real.jsonl").write_text(ROW)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    assert inspect_data(DataSource(path=str(tmp_path / "link.jsonl"))).rows == 1


def test_34_line_breaks_in_a_name_do_not_break_the_sentence(tmp_path: Path) -> None:
    assert "two\\nlines" in refused(tmp_path / "two\nlines.jsonl")
