"""Decode a file into lines of text; lines that are not text in its encoding are reported, never changed."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.engine.control import Progress
from studio.engine.data.readers.base import MAX_ROW_BYTES, Broken, Meter
from studio.engine.data.readers.encodings import likely_encodings
from studio.engine.data.readers.files import HEAD, open_file, printable
from studio.errors import DataError
from studio.i18n import tr

# The longer mark first: UTF-32 begins with the mark of UTF-16.
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE = ("utf-16", "utf-32")
_BLOCK = 2**18
_WHOLE_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r(?=[^\n]))")  # a \r at the end of a block may lack its \n
# Control characters that text has no use for: tab, line ends, vertical tab and form feed are left out.
_RAW_CONTROL = re.compile("[\0-\x08\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its number from 1, and its unchanged text, including the line end."""

    number: int
    text: str


class TextFile:
    """A text file, read line by line or block by block. Each reading starts at the beginning.

    Attributes:
        encoding: the name of its codec.
        head: the beginning of its text, which tells the kind of the file.
    """

    def __init__(self, path: Path, encoding: str, progress: Progress, stage: str) -> None:
        self.path = path
        file, self.size = open_file(path)
        with file:
            head = file.read(HEAD)
        self.encoding = _choose_encoding(path, encoding, head)
        self.head = head.decode(_codec(self.encoding), "replace")
        self._progress = progress
        self._stage = stage

    def lines(self) -> Iterator[Line | Broken]:
        r"""Yield every line, ended by \n, \r\n or \r; a line that is not text is yielded as `Broken`."""
        return self._wide_lines() if self.encoding.startswith(_WIDE) else self._byte_lines()

    def blocks(self) -> Iterator[str]:
        """Yield the text in blocks of some hundred thousand characters. Raises `DataError` where it is not text."""
        file, total = open_file(self.path)
        meter = Meter(self._progress, self._stage, total)
        decoder = codecs.getincrementaldecoder(_codec(self.encoding))()
        line = 1
        with file:
            while True:
                raw = file.read(_BLOCK)
                try:
                    text = decoder.decode(raw, final=not raw)
                except UnicodeDecodeError as error:
                    raise self._undecodable(error, file.tell() - len(error.object), line) from error
                if text:
                    line += text.count("\n")
                    yield text
                if not raw:
                    return
                meter.at(file.tell())

    def _byte_lines(self) -> Iterator[Line | Broken]:
        # Bytes are split before they are decoded, so that one bad line costs one line. No encoding but the
        # wide ones uses the bytes of \r and \n inside a character.
        file, total = open_file(self.path)
        meter = Meter(self._progress, self._stage, total)
        number = offset = 0
        with file:
            while raw := file.readline(MAX_ROW_BYTES + 1):
                self._refuse_long(raw, number + 1)
                for part in raw.splitlines(keepends=True):
                    number += 1
                    yield self._line(number, part, offset)
                    offset += len(part)
                meter.at(offset)

    def _line(self, number: int, raw: bytes, offset: int) -> Line | Broken:
        encoding = _codec(self.encoding) if number == 1 else self.encoding
        try:
            return _checked(Line(number, raw.decode(encoding)))
        except UnicodeDecodeError as error:
            return Broken(number, _not_text(raw, offset, error))

    def _wide_lines(self) -> Iterator[Line | Broken]:
        number, rest = 0, ""
        for block in self.blocks():
            rest += block
            end = 0
            for found in _WHOLE_LINE.finditer(rest):
                number, end = number + 1, found.end()
                yield _checked(Line(number, found[0]))
            rest = rest[end:]
            self._refuse_long(rest, number + 1)
        if rest:
            yield _checked(Line(number + 1, rest))

    def _undecodable(self, error: UnicodeDecodeError, start: int, line: int) -> DataError:
        line += error.object[: error.start].count(b"\n")
        return DataError(
            tr("{file}, line {line}: {what}; name its encoding or save it as UTF-8.").format(
                file=printable(self.path), line=line, what=_not_text(error.object, start, error)
            )
        )

    def _refuse_long(self, line: bytes | str, number: int) -> None:
        if len(line) > MAX_ROW_BYTES:
            raise DataError(
                tr("{file}, line {line}, is longer than {limit} MB; is it a dataset?").format(
                    file=printable(self.path), line=number, limit=MAX_ROW_BYTES // 2**20
                )
            )


def _checked(line: Line) -> Line | Broken:
    found = _RAW_CONTROL.search(line.text)
    if found is None:
        return line
    return Broken(
        line.number,
        tr("the character U+{code:04X} at column {column} does not belong into text").format(
            code=ord(found[0]), column=found.start() + 1
        ),
    )


def _choose_encoding(path: Path, named: str, head: bytes) -> str:
    """Return the name of the codec; UTF-8 unless another is named."""
    if named.lower() != "auto":
        return _known(path, named)
    for mark, name in _WIDE_MARKS:
        if head.startswith(mark):
            raise _wide_file(path, name)
    if 1 < len(head) < head.count(0) * 4 < len(head) * 3:  # every other byte of Latin text in UTF-16 is zero
        raise _wide_file(path, "utf-16-le" if head[1:2] == b"\0" else "utf-16-be")
    return "utf-8"


_NO_ENCODINGS_OF_FILES = ("punycode", "idna", "undefined", "unicode-escape", "raw-unicode-escape")


def _known(path: Path, named: str) -> str:
    try:
        name = codecs.lookup(named).name
        if name.replace("_", "-") in _NO_ENCODINGS_OF_FILES:
            raise LookupError(name)  # noqa: TRY301
        "".encode(name)  # codecs such as hex or zip are no text encodings
    except (LookupError, ValueError) as error:
        raise DataError(
            tr("{encoding} is not a known text encoding for {file}; take one such as utf-8, gb18030 or cp1252.").format(
                encoding=repr(named), file=printable(path)
            )
        ) from error
    return "utf-8" if name == "utf-8-sig" else name


def _codec(encoding: str) -> str:
    """The codec for the beginning of a file, where UTF-8 may carry a byte order mark."""
    return "utf-8-sig" if encoding == "utf-8" else encoding


def _wide_file(path: Path, name: str) -> DataError:
    return DataError(
        tr("{file} is not UTF-8 but {name} text; set its text encoding to {encoding}, or save it as UTF-8.").format(
            file=printable(path), name=name.upper(), encoding=name
        )
    )


def _not_text(raw: bytes, offset: int, error: UnicodeDecodeError) -> str:
    return tr(
        "byte 0x{byte:02X} at offset {offset} is not {encoding} text (set the file's encoding if it is {others})"
    ).format(
        byte=raw[error.start],
        offset=offset + error.start,
        encoding=error.encoding.upper(),
        others=tr(", ").join(likely_encodings(raw)) or "latin-1",
    )
