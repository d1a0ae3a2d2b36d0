"""The new tokens of an export, which hold trained vectors and stand in front of every row.

A Chat model gets them from its chat template, in front of everything that the template writes; a Base model from its
tokenizer, in front of what the tokenizer itself puts first (such as BOS). There PEFT puts the vectors too.

Some tokenizers split the beginning of a text in another way than the text after a special token. So `extend` compares
samples with and without the new tokens, and refuses a tokenizer that splits them in different ways.
"""

from __future__ import annotations

import copy
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from studio.engine.data.formats.values import exchange
from studio.engine.export.prompts import BUILT_IN
from studio.engine.models import template as templates
from studio.engine.models.template import Refused, Wanted, default_template, template_tokens
from studio.errors import ExportError, ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

# Digits, spaces, line ends, accents and emoji: here similar tokenizers differ.
SAMPLES = (*BUILT_IN, "x = 1234567.890\n\tif a  != b:", "naïve café — “quoted”", "👩‍💻 🇨🇳")

Conversation: TypeAlias = list[dict[str, str]]

_QUESTION, _ANSWER = ({"role": turn.role, "content": turn.content} for turn in exchange(BUILT_IN[0], "Paris."))
CONVERSATIONS: tuple[Conversation, ...] = (
    [_QUESTION],
    [{"role": "system", "content": "You are brief."}, _QUESTION],
    [_QUESTION, _ANSWER],
    [_QUESTION, _ANSWER, {"role": "user", "content": BUILT_IN[4]}],
)
# Templates are read with `lstrip_blocks`: white space before a block at the start of a line is not text.
_INDENTED_BLOCK = re.compile(r"^[ \t]+(?=\{[%#])")


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """What stands in front of every row of an export.

    Attributes:
        ids: the tokens; () where an export has none of its own.
        tokenizer: the export's tokenizer, the base's where there are no such tokens.
        in_template: whether the chat template writes them; otherwise the tokenizer puts them in front of every text.
    """

    tokenizer: PreTrainedTokenizerBase
    ids: tuple[int, ...] = ()
    in_template: bool = False

    def split(self, base: PreTrainedTokenizerBase, text: str) -> list[int]:
        """Return the tokens that the export's tokenizer should make of a text."""
        return [*(() if self.in_template else self.ids), *base(text)["input_ids"]]

    def render(self, base: PreTrainedTokenizerBase, conversation: Conversation, ask: bool) -> list[int] | None:
        """Return the tokens that the export's template should make of a conversation; None where it is refused."""
        rendered = render(base, conversation, ask)
        return None if rendered is None else [*(self.ids if self.in_template else ()), *rendered]


_given_up: set[str] = set()
"""Templates that did not come to an end, or took too much memory, on one of our own conversations."""


def render(tokenizer: PreTrainedTokenizerBase, conversation: Conversation, ask: bool) -> list[int] | None:
    """Return the tokens that a tokenizer's template makes of a conversation; None where it refuses it."""
    template = default_template(tokenizer)
    if template is None or template in _given_up:
        return None
    try:
        job = conversation, [Wanted(len(conversation), ask)]
        text = templates.render(template, template_tokens(tokenizer), [job])[0][0]
    except ModelError:
        _given_up.add(template)
        log.info("The chat template fails on a conversation of %d turns", len(conversation), exc_info=True)
        return None
    if isinstance(text, Refused):
        log.info("The chat template refuses a conversation of %d turns: %s", len(conversation), text.words)
        return None
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def extend(tokenizer: PreTrainedTokenizerBase, count: int, kind: Literal["base", "chat"]) -> Prefix:
    """Return `count` new tokens, with a copy of the tokenizer that puts them in front of every row.

    Raises:
        ExportError: the tokenizer cannot be extended so, or would split what follows them otherwise than before.
    """
    if not tokenizer.is_fast:
        raise ExportError(tr("The base has no tokenizer.json, so that no token can be added to it in a safe way."))
    names = _unused_names(tokenizer, count)
    extended = _with_tokens(tokenizer, names)
    known = extended.get_vocab()
    ids = tuple(known[name] for name in names)
    if set(ids) & set(tokenizer.get_vocab().values()):
        raise ExportError(tr("The base's tokenizer numbers its tokens with gaps, so that none can be added to it."))
    if kind == "chat":
        extended.chat_template = _template(default_template(tokenizer), "".join(names))
    else:
        extended.backend_tokenizer.post_processor = _post_processor(extended, names, ids)
    prefix = Prefix(tokenizer=extended, ids=ids, in_template=kind == "chat")
    if not (splits_as_before(prefix, tokenizer, extended) and renders_as_before(prefix, tokenizer, extended)):
        raise ExportError(
            tr(
                "The base's tokenizer splits text otherwise when other tokens stand in front of it, so that the "
                "virtual tokens cannot become tokens of the vocabulary."
            )
        )
    return prefix


def splits_as_before(prefix: Prefix, base: PreTrainedTokenizerBase, found: PreTrainedTokenizerBase) -> bool:
    """Return whether `found` knows each token of the prefix, and splits samples of text as it should."""
    names = prefix.tokenizer.convert_ids_to_tokens(list(prefix.ids))
    known = [found(name, add_special_tokens=False)["input_ids"] for name in names]
    return known == [[token] for token in prefix.ids] and not differing(prefix, base, found)


def differing(prefix: Prefix, base: PreTrainedTokenizerBase, found: PreTrainedTokenizerBase) -> list[str]:
    """Return the samples that `found` splits otherwise than it should."""
    return [text for text in SAMPLES if found(text)["input_ids"] != prefix.split(base, text)]


def renders_as_before(prefix: Prefix, base: PreTrainedTokenizerBase, found: PreTrainedTokenizerBase) -> bool:
    """Return whether the template of `found` writes the prefix, and then what the base's template writes."""
    if not base.chat_template:
        return not found.chat_template
    cases = [(conversation, ask) for conversation in CONVERSATIONS for ask in (False, True)]
    return all(render(found, *case) == prefix.render(base, *case) for case in cases)


def _unused_names(tokenizer: PreTrainedTokenizerBase, count: int) -> list[str]:
    vocabulary, mark = tokenizer.get_vocab(), "virtual"
    while any(name.startswith(f"<|{mark}-") for name in vocabulary):
        mark += "_"
    return [f"<|{mark}-{number}|>" for number in range(1, count + 1)]


def _with_tokens(tokenizer: PreTrainedTokenizerBase, names: Sequence[str]) -> PreTrainedTokenizerBase:
    from tokenizers import AddedToken

    extended = copy.deepcopy(tokenizer)
    # The tokens must not take up spaces of the text beside them, and are looked for before the text is normalised.
    plain = {"lstrip": False, "rstrip": False, "normalized": False, "special": True}
    extended.add_tokens([AddedToken(name, **plain) for name in names], special_tokens=True)
    return extended


def _template(template: Any, opening: str) -> Any:
    """A tokenizer may have several templates, by name."""
    if isinstance(template, dict):
        return {name: _template(text, opening) for name, text in template.items()}
    return opening + _INDENTED_BLOCK.sub("", template)


def _post_processor(tokenizer: PreTrainedTokenizerBase, names: Sequence[str], ids: Sequence[int]) -> Any:
    """Return the tokenizer's post-processor, with the tokens in front of all that it writes."""
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["post_processor"] = _opened(state.get("post_processor"), names, ids)
    return Tokenizer.from_str(json.dumps(state)).post_processor


def _opened(processor: dict[str, Any] | None, names: Sequence[str], ids: Sequence[int]) -> dict[str, Any]:
    """Return a post-processor of tokenizer.json with the tokens in front; only kinds that leave the rest alone."""
    if processor is None:
        return _opened(_PLAIN, names, ids)
    kind = processor["type"]
    if kind == "ByteLevel":  # only moves the places at which tokens begin and end
        return {"type": "Sequence", "processors": [processor, _opened(_PLAIN, names, ids)]}
    if kind == "TemplateProcessing":
        return _with_opening(processor, names, ids)
    parts = processor.get("processors", [])
    if kind == "Sequence" and {part["type"] for part in parts} <= {"ByteLevel", "TemplateProcessing"}:
        *before, last = parts or [_PLAIN]
        return processor | {"processors": [*before, _opened(last, names, ids)]}
    raise ExportError(
        tr("The base's tokenizer ends with a step ({kind}) into which no virtual tokens can be put.").format(kind=kind)
    )


_PLAIN: dict[str, Any] = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {},
}


def _with_opening(processor: dict[str, Any], names: Sequence[str], ids: Sequence[int]) -> dict[str, Any]:
    opening = [{"SpecialToken": {"id": name, "type_id": 0}} for name in names]
    tokens = {name: {"id": name, "ids": [token], "tokens": [name]} for name, token in zip(names, ids, strict=True)}
    return processor | {
        "single": [*opening, *processor["single"]],
        "pair": [*opening, *processor["pair"]],
        "special_tokens": processor["special_tokens"] | tokens,
    }
