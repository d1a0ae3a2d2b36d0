"""From rendered text to tokens and their loss mask."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, compress, groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from studio.engine.data.control_tokens import ControlTokens
from studio.engine.data.report import Remark, RowSkipped

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_ROOM = Remark("answer_cut_off")
UNKNOWN = Remark("unknown_characters")
CHANGED = Remark("changed_by_tokenizer")
DIVIDED = Remark("divided")
THOUGHT_LEFT_OUT = Remark("thought_left_out")
# Of a very long text only the beginning is encoded: enough characters for the longest row at 8 characters a token. The
# last tokens before such a cut can differ from those of the whole text, so 64 more tokens than needed must come out.
_CHARACTERS = 8
_SPARE = 64
_TAIL = 32  # characters before an answer that decide how its prompt ends
_END = itemgetter(1)  # of a token's place in the text


@dataclass(frozen=True, slots=True)
class Rendered:
    """Text as the model will see it.

    Attributes:
        text: the text; control tokens that the row itself spells are replaced by aliases (control_tokens.py).
        spans: the parts to learn, as pairs of begin and end in `text`, in characters.
        opened: whether the tokenizer's own first tokens, such as BOS, are put before it. Templates write their own.
        guarded: whether the text contains aliases.
        divisible: whether a text that is too long is cut into several rows, instead of losing its end.
        notes: remarks on the row.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    opened: bool = False
    guarded: bool = False
    divisible: bool = False
    notes: tuple[Remark, ...] = ()


def all_but(spans: Sequence[tuple[int, int]], length: int) -> tuple[tuple[int, int], ...]:
    """Return the parts of a text of `length` characters that lie between `spans`, which are in order."""
    begins, ends = [0, *(end for _, end in spans)], [*(begin for begin, _ in spans), length]
    return tuple((begin, end) for begin, end in zip(begins, ends, strict=True) if begin < end)


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The tokens of a text, and for each the position in the text, in characters, where it ends."""

    text: str
    ids: list[int]
    ends: list[int]


@dataclass(frozen=True, slots=True)
class Encoding:
    """One row of tokens.

    Attributes:
        input_ids: the tokens, cut at the longest length.
        supervised: the loss mask. The first token is never learnt, because no token precedes it to predict it from.
        segments: the text of these tokens in order, in parts that are learnt or not.
        notes: remarks on the row.
        lost: tokens behind the longest length, which are in no row. Of a very long text they are estimated.
        spelled: whether the row spells control tokens, which are learnt as plain text.
        teaches_end: whether what is learnt ends with a control token; a template may put a line end or two behind it.
    """

    input_ids: list[int]
    supervised: list[bool]
    segments: tuple[tuple[str, bool], ...]
    notes: tuple[Remark, ...]
    lost: int = 0
    spelled: bool = False
    teaches_end: bool = True


class Encoder:
    """Encodes rendered text with a fast tokenizer.

    The mask is exact: a text is encoded as a whole, as it is at inference, and a token belongs to a span when it
    ends inside it. Where a token would reach across the beginning or end of a span, such as a space before and a
    word behind it, the text is cut there and encoded again, because at inference the prompt ends just there.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, control: ControlTokens, max_length: int) -> None:
        self._tokenizer = tokenizer
        self._control = control
        self._max_length = max_length
        self._opening = _opening(tokenizer)
        self._backend = tokenizer.backend_tokenizer
        self._added = set(tokenizer.added_tokens_decoder)
        self._known: dict[str, bool] = {}
        self._splits_by_what_follows = lru_cache(1024)(self._compare_ends)

    def encode(self, rendered: Sequence[Rendered]) -> list[tuple[Encoding, ...] | RowSkipped]:
        """Return the row of each text (several of a divisible one), or why nothing can be learnt from it."""
        heads = [one.text[: self._max_length * _CHARACTERS + 4096] for one in rendered]
        return [self._one(one, tokens) for one, tokens in zip(rendered, self._tokens(heads), strict=True)]

    def ids(self, rendered: Rendered) -> list[int]:
        """Return all tokens of a text, uncut."""
        tokens = self._settled(rendered, self._tokens([rendered.text])[0])
        return [*(self._opening if rendered.opened else ()), *tokens.ids]

    def _tokens(self, texts: list[str]) -> list[_Tokens]:
        if not texts:
            return []
        self._backend.no_truncation()  # left behind by other callers
        self._backend.no_padding()
        self._backend.encode_special_tokens = False
        batch = self._backend.encode_batch(texts, add_special_tokens=False)
        return [
            _Tokens(text, one.ids, list(accumulate(map(_END, one.offsets), max)))
            for text, one in zip(texts, batch, strict=True)
        ]

    def _one(self, rendered: Rendered, tokens: _Tokens) -> tuple[Encoding, ...] | RowSkipped:
        try:
            if rendered.divisible:
                return tuple(self._divided(rendered, tokens))
            if len(tokens.text) < len(rendered.text) and len(tokens.ids) < self._max_length + _SPARE:
                tokens = self._tokens([rendered.text])[0]
            return (self._limited(rendered, self._settled(rendered, tokens)),)
        except RowSkipped as reason:
            return reason

    def _divided(self, rendered: Rendered, tokens: _Tokens) -> Iterator[Encoding]:
        """Yield the rows of a text that is learnt as a whole. Their texts, one after the other, are that text.

        Each row is encoded by itself, from `begin` on, and only as far as it may reach.
        """
        opening = len(self._opening) if rendered.opened else 0
        room = self._max_length - opening
        begin, notes = 0, rendered.notes
        while True:
            size = len(tokens.text)
            part = replace(rendered, text=tokens.text, spans=((0, size),), notes=notes)
            is_rest = begin + size >= len(rendered.text)
            tokens = self._settled(part, tokens)
            if is_rest and len(tokens.ids) <= room:
                yield self._limited(part, tokens)
                return
            notes = (*rendered.notes, DIVIDED)
            if not is_rest and len(tokens.ids) < room + _SPARE:
                size *= 2
            else:
                # The last row must have two tokens: the first of a row is not learnt.
                kept = self._end_of_row(tokens, min(room, len(tokens.ids) - 2) if is_rest else room)
                end = tokens.ends[kept - 1]
                row = replace(part, text=part.text[:end], spans=((0, end),), notes=notes)
                yield self._limited(row, _Tokens(row.text, tokens.ids[:kept], tokens.ends[:kept]))
                begin += end
                size = end * 3 // 2 + _CHARACTERS * _SPARE
            tokens = self._tokens([rendered.text[begin : begin + size]])[0]

    def _end_of_row(self, tokens: _Tokens, room: int) -> int:
        """Return how many tokens, at most `room`, the first row of a text gets.

        Its last eighth is searched for the end of a paragraph, otherwise of a line, a sentence or a word.
        """
        text, ends = tokens.text, tokens.ends

        def rank(kept: int) -> int:
            end = ends[kept - 1]
            if ends[kept] == end or self._control.inside(text, end):
                return -1  # inside a character, or inside the alias of a control token
            if text[end - 1] == "\n":
                return 4 if text[end - 2 : end - 1] == "\n" else 3
            if text[end - 1] in "。！？":
                return 2
            if text[end].isspace():
                return 2 if text[end - 1] in ".!?…" else 1
            return 0

        last = range(room, max(0, room * 7 // 8 - 1), -1)
        best = max(last, key=rank)
        return best if rank(best) >= 0 else next((kept for kept in range(room, 0, -1) if rank(kept) >= 0), room)

    def _settled(self, rendered: Rendered, tokens: _Tokens) -> _Tokens:
        """Encode again where a token reaches across a boundary, or text was taken for a control token."""
        reached = {0, *tokens.ends}
        boundaries = {place for span in rendered.spans for place in span if place < len(tokens.text)}
        split = {begin for begin, _ in rendered.spans if self._ends_otherwise(tokens.text, begin)}
        crossed = sorted((boundaries - reached) | split)
        if not crossed and not rendered.guarded and self._control.agree(tokens.text, tokens.ids):
            return tokens
        ids, ends = self._control.encode_guarded(tokens.text, crossed)
        return _Tokens(tokens.text, ids, list(accumulate(ends, max)))

    def _ends_otherwise(self, text: str, place: int) -> bool:
        r"""Return whether a prompt that ends at `place` has other tokens at its end than the same text in a row.

        Many tokenizers split white space by what follows: "\n\n" is one token at the end, and two before a word.
        """
        space = text[max(0, place - 2) : place]
        if place >= len(text) or len(space) < 2 or not space.isspace():
            return False
        return self._splits_by_what_follows(text[max(0, place - _TAIL) : place], text[place])

    def _compare_ends(self, tail: str, following: str) -> bool:
        alone, followed = self._tokens([tail, tail + following])
        return followed.ids[: len(alone.ids)] != alone.ids

    def _limited(self, rendered: Rendered, tokens: _Tokens) -> Encoding:
        opening = self._opening if rendered.opened else []
        mask = [False] * (len(opening) + len(tokens.ids))
        for begin, end in rendered.spans:
            first, last = (len(opening) + bisect_right(tokens.ends, place) for place in (begin, end))
            mask[first:last] = [True] * (last - first)
        mask[:1] = [False]
        # Where the text was not encoded to its end, its number of tokens is estimated from the beginning.
        whole = round(len(mask) * len(rendered.text) / max(1, len(tokens.text)))
        if not any(mask[: self._max_length]):
            raise RowSkipped(NO_ROOM, needed=whole)
        room = self._max_length - len(opening)
        ids = [*opening, *tokens.ids[:room]]
        segments = self._segments(rendered, tokens.ends[:room][-1])
        return Encoding(
            input_ids=ids,
            supervised=mask[: self._max_length],
            segments=segments,
            notes=(*rendered.notes, *self._differences(ids, "".join(text for text, _ in segments))),
            lost=max(0, whole - self._max_length),
            spelled=rendered.guarded,
            teaches_end=self._control.holds(list(compress(ids, mask))[-3:]),
        )

    def _differences(self, ids: list[int], text: str) -> tuple[Remark, ...]:
        """Return remarks on what the tokens do not give back of their text."""
        if self._backend.decoder is None or self._gives_back(ids, text):
            return ()
        lacks = [character for character in set(text) if not self._knows(character)]
        return (UNKNOWN,) if lacks else (CHANGED,)

    def _gives_back(self, ids: list[int], text: str) -> bool:
        """Return whether the tokens decode to their text.

        Some tokenizers put a space behind each added token. Then what stands between two of them is decoded by itself.
        """
        decoded = str(self._backend.decode(ids, skip_special_tokens=False))
        if decoded == text:
            return True
        groups = groupby(ids, key=lambda token: token if token in self._added else None)
        pieces = (str(self._backend.decode(list(group), skip_special_tokens=False)) for _, group in groups)
        # The last character may have been cut off in the middle.
        return any(one == text or one.rstrip("\ufffd") == text[:-1] for one in (decoded, "".join(pieces)))

    def _knows(self, character: str) -> bool:
        """Return whether the vocabulary has a token for a character."""
        if character not in self._known:
            ids = self._tokenizer(f"a{character}a", add_special_tokens=False)["input_ids"]
            without = self._tokenizer("aa", add_special_tokens=False)["input_ids"]
            self._known[character] = character.isspace() or (ids != without and self._tokenizer.unk_token_id not in ids)
        return self._known[character]

    def _segments(self, rendered: Rendered, end: int) -> tuple[tuple[str, bool], ...]:
        text = rendered.text[:end]
        segments, done = [], 0
        for begin, stop in rendered.spans:
            segments += [(text[done:begin], False), (text[begin:stop], True)]
            done = stop
        segments.append((text[done:], False))
        first = str(self._tokenizer.decode(self._opening)) if rendered.opened and self._opening else ""
        return tuple((self._control.reveal(part), learnt) for part, learnt in [(first, False), *segments] if part)


def _opening(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens that the tokenizer puts before any text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    before = next((n for n in range(len(full)) if full[n : n + len(bare)] == bare), 0)
    return list(full[:before])
