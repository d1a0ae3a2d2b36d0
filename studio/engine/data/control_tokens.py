"""Control tokens, and how text that merely spells one stays text.

`<|im_end|>` inside a row's text would end the turn if it were encoded like the one that the template writes. So
it is hidden before the template sees it: each control token has an alias of the same length, made of characters
that no text uses. Afterwards both are exchanged: the text has its spelling back, and what the template wrote
stands there under its alias, which is the only name by which the guarded copy of the tokenizer knows it.
Lengths never change, so that places in the text stay valid all the way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from studio.engine.data.report import Remark, RowSkipped
from studio.engine.models.template import default_template

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

# Characters of the last private-use plane of Unicode.
_FIRST_ALIAS = 0x100000
_FILLING = "\U0010fffd"
_CUT = "\U0010fffc"
# What can stand behind a cut to take up the space that some tokenizers put before every piece of text.
_BUFFERS = ("\n", "|", "\U0010fffa")
PROBE = "\U0010fffb"
THOUGHTS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
"""How models open and close a thought."""

_RESERVED = re.compile("[\U00100000-\U0010ffff]")


class ControlTokens:
    """The control tokens of a tokenizer: its special tokens, and the added tokens that its template writes.

    In an answer only special tokens count, and not those round a thought: the others are for the model to say.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        template = default_template(tokenizer) or ""
        added = tokenizer.added_tokens_decoder
        special = [token.content for token in added.values() if token.special]
        written = [token.content for token in added.values() if not token.special and token.content in template]
        self._tokenizer = tokenizer
        self._alias = {token: _alias(place, token) for place, token in enumerate([*special, *written])}
        self._token = {alias: token for token, alias in self._alias.items()}
        thoughts = {tag for pair in THOUGHTS for tag in pair}
        self._special = _any_of(token for token in special if token not in thoughts)
        self._any = _any_of(self._alias)
        self._any_alias = _any_of(self._token)
        self._any_name = _any_of(self._alias | self._token)
        # The unknown token stands for text, and is no sign that text was taken for control.
        self._ids = {key for key, token in added.items() if token.content in self._alias} - {tokenizer.unk_token_id}

    def hide(self, text: str, in_answer: bool) -> str:
        """Return text from a row with the control tokens that it spells under their aliases.

        Raises:
            RowSkipped: it spells some, and has characters that the aliases are made of.
        """
        pattern = self._special if in_answer else self._any
        if not pattern.search(text):
            return text
        if _RESERVED.search(text):
            raise RowSkipped(Remark("reserved_characters"))
        return pattern.sub(lambda found: self._alias[found[0]], text)

    def reveal(self, text: str) -> str:
        """Return text as people see it: everything under its own name."""
        return self._any_alias.sub(lambda found: self._token[found[0]], text)

    def inside(self, text: str, place: int) -> bool:
        """Return whether a place in a text lies inside an alias, which must not be cut."""
        return text.startswith(_FILLING, place)

    def end(self, text: str) -> bool:
        """Return whether text ends with a control token that the template wrote."""
        return text.endswith(tuple(self._alias))

    def holds(self, ids: Iterable[int]) -> bool:
        """Return whether control tokens, or the end token, are among `ids`."""
        return any(token in self._ids or token == self._tokenizer.eos_token_id for token in ids)

    def agree(self, text: str, ids: Iterable[int]) -> bool:
        """Return whether `ids` have as many control tokens as `text` shows outside of aliases."""
        unknown = self._tokenizer.unk_token
        written = sum(1 for name in self._any.findall(text) if name != unknown)
        return written == sum(1 for token in ids if token in self._ids)

    def encode_guarded(self, text: str, cuts: Sequence[int]) -> tuple[list[int], list[int]]:
        """Encode rendered text so that only what the template wrote becomes control tokens.

        Args:
            text: as the template rendered it, control tokens of the rows hidden.
            cuts: places, in order, that no token may reach across.

        Returns:
            The tokens, and for each the place in `text` where it ends.

        Raises:
            RowSkipped: the two cannot be kept apart.
        """
        places = [0, *cuts, len(text)]
        parts = [text[begin:end] for begin, end in pairwise(places)]
        found = next(filter(None, (self._encode_parts(parts, buffer) for buffer in self._buffers)), None)
        if found is None or not self.agree(text, found[0]):
            raise RowSkipped(Remark("inseparable_control_tokens"))
        return found

    def _encode_parts(self, parts: Sequence[str], buffer: str) -> tuple[list[int], list[int]] | None:
        """Return the tokens of the parts of a text, and where each ends in it; None where `buffer` sticks to a part."""
        exchanged = self._any_name.sub(
            lambda found: self._alias.get(found[0]) or self._token[found[0]], (_CUT + buffer).join(parts)
        )
        encoding = self._guarded.encode(exchanged, add_special_tokens=False)
        cut = self._guarded.token_to_id(_CUT)
        ids, ends, passed, buffered = [], [], 0, 0
        for token, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token == cut:
                passed += 1
                buffered = end + len(buffer)
            elif end <= buffered:
                continue  # the buffer, or the space that the tokenizer put before it
            elif begin < buffered and token != self._tokenizer.unk_token_id:
                return None
            else:
                ids.append(token)
                ends.append(end - passed * len(_CUT + buffer))
        return (ids, ends) if passed == len(parts) - 1 else None

    @cached_property
    def _buffers(self) -> tuple[str, ...]:
        """What can stand behind a cut: nothing, where the tokenizer puts no space before a piece of text."""
        alone = self._encode_parts(["a", "a"], "")
        buffered = {buffer: self._encode_parts(["a", "a"], buffer) for buffer in _BUFFERS}
        usable = tuple(buffer for buffer, found in buffered.items() if found)
        return usable if usable and buffered[usable[0]] != alone else ("",)

    @cached_property
    def _guarded(self) -> Tokenizer:
        """A copy of the tokenizer that knows control tokens by their aliases only."""
        from tokenizers import AddedToken, Tokenizer

        state = json.loads(self._tokenizer.backend_tokenizer.to_str())
        state["truncation"] = state["padding"] = None
        for token in state["added_tokens"]:
            token["content"] = self._renamed(token["content"])
        self._rename_in(state["model"])
        copy = Tokenizer.from_str(json.dumps(state))
        copy.add_special_tokens([AddedToken(_CUT, normalized=False)])
        return copy

    def _rename_in(self, model: dict[str, Any]) -> None:
        # A vocabulary is a table of names or, in Unigram models, a list of names and scores.
        vocabulary = model["vocab"]
        if isinstance(vocabulary, dict):
            model["vocab"] = {self._renamed(name): number for name, number in vocabulary.items()}
        else:
            model["vocab"] = [[self._renamed(name), score] for name, score in vocabulary]
        if isinstance(model.get("unk_token"), str):
            model["unk_token"] = self._renamed(model["unk_token"])

    def _renamed(self, name: str) -> str:
        return self._alias.get(name, name)


def _alias(place: int, token: str) -> str:
    return chr(_FIRST_ALIAS + place) + _FILLING * (len(token) - 1)


def _any_of(names: Iterable[str]) -> re.Pattern[str]:
    """A pattern for any of the names, the longest first; without names it matches nothing."""
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
