"""What the tokenizer files of a model folder say, without torch and without building transformers' tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.models.files import check_fetched, damaged, member, read_json
from studio.errors import ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
_OTHER_LAYOUTS = (("tokenizer.model",), ("vocab.json", "merges.txt"), ("vocab.txt",))
_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")


@dataclass(frozen=True)
class TokenizerFiles:
    """The parts of a tokenizer that decide how a model can be trained.

    Attributes:
        special: the special tokens by name, such as `eos_token`; those that are not set are left out.
        stops: the tokens at which generation ends, from the tokenizer and from the generation config.
        template: source of the chat template, None without one.
        largest_id: largest token id, None when only transformers can tell.
        chat_tokens: special tokens of chats that the tokenizer knows, such as `<|im_start|>`.
        added: the tokens that are matched whole, special ones among them, with their ids.
    """

    special: dict[str, str]
    stops: tuple[str, ...]
    template: str | None
    largest_id: int | None
    chat_tokens: tuple[str, ...]
    added: dict[str, int]


_CHAT_TOKENS = (
    "<|im_start|>",
    "<|start_header_id|>",
    "<start_of_turn>",
    "[INST]",
    "<|user|>",
    "<|assistant|>",
    "<|turn>",
)


def read_tokenizer(folder: Path, config: dict[str, Any]) -> TokenizerFiles:
    """Read the tokenizer files of `folder`. Raises `ModelError` when there is no tokenizer or it is damaged."""
    tokenizer = _tokenizer(folder)
    values = read_json(folder, "tokenizer_config.json") or {}
    special = _special_tokens(values, read_json(folder, "special_tokens_map.json") or {})
    generation = read_json(folder, "generation_config.json") or {}
    ids = _ids(generation.get("eos_token_id", config.get("eos_token_id")))
    by_id = [token for number in ids if tokenizer and (token := tokenizer.id_to_token(number))]
    if by_id:
        special.setdefault("eos_token", by_id[0])
    known = tokenizer.get_vocab() if tokenizer else {}
    return TokenizerFiles(
        special=special,
        stops=tuple(dict.fromkeys([*filter(None, [special.get("eos_token")]), *by_id])),
        template=_template(folder, values),
        largest_id=max(known.values(), default=None),
        chat_tokens=tuple(token for token in _CHAT_TOKENS if token in known),
        added={token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
        if tokenizer
        else {},
    )


def _tokenizer(folder: Path) -> Tokenizer | None:
    from tokenizers import Tokenizer

    path = member(folder, TOKENIZER)
    if path is None:
        for layout in _OTHER_LAYOUTS:
            files = [member(folder, name) for name in layout]
            if all(files):
                for file in filter(None, files):
                    check_fetched(file)
                return None
        raise ModelError(
            tr("{folder} has no tokenizer (tokenizer.json); download the model again.").format(folder=folder)
        )
    check_fetched(path)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise damaged(path, tr("it is not a tokenizer")) from error


def _special_tokens(*sources: dict[str, Any]) -> dict[str, str]:
    """A token is written as a string, or as an object with its `content`."""
    found: dict[str, str] = {}
    for values in sources:
        for name in _SPECIAL:
            value = values.get(name)
            content = value.get("content") if isinstance(value, dict) else value
            if isinstance(content, str) and content:
                found.setdefault(name, content)
    return found


def _template(folder: Path, tokenizer_config: dict[str, Any]) -> str | None:
    """Return the default template from the three places where it may stand; transformers asks them in this order."""
    if path := member(folder, "chat_template.jinja"):
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise damaged(path, tr("it is not UTF-8 text")) from error
    separate = read_json(folder, "chat_template.json") or {}
    value = separate.get("chat_template") or tokenizer_config.get("chat_template")
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
        value = named.get("default")
    return value if isinstance(value, str) and value.strip() else None


def _ids(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [number for number in values if type(number) is int and number >= 0]
