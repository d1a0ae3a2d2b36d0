"""What the tokenizer files of a model folder say, without torch and without building transformers' tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.models.files import check_fetched, damaged, member, one_line, read_json
from studio.errors import ModelError
from studio.files import read_bytes
from studio.i18n import tr

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
_OTHER_LAYOUTS = (("tokenizer.model",), ("vocab.json", "merges.txt"), ("vocab.txt",))
MORE_TEMPLATES = "additional_chat_templates"
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_TOKEN_LISTS = ("additional_special_tokens", "extra_special_tokens", "added_tokens_decoder")
_MOST_TOKENS, _MOST_NEW_TOKENS = 1 << 16, 1000
_MOST_TEMPLATE_BYTES = 1 << 20
_MOST_TOKENIZER_BYTES = 1 << 27  # the largest that are known have 40 MB


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
    more = read_json(folder, "special_tokens_map.json") or {}
    special = _special_tokens(values, more)
    by_id = [token for number in end_ids(folder, config) if tokenizer and (token := tokenizer.id_to_token(number))]
    if by_id:
        special.setdefault("eos_token", by_id[0])
    known = tokenizer.get_vocab() if tokenizer else {}
    _refuse_many_tokens(folder, known, values, more)
    return TokenizerFiles(
        special=special,
        stops=tuple(dict.fromkeys([*filter(None, [special.get("eos_token")]), *by_id])),
        template=read_template(folder),
        largest_id=max(known.values(), default=None),
        chat_tokens=tuple(token for token in _CHAT_TOKENS if token in known),
        added={token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
        if tokenizer
        else {},
    )


def _refuse_many_tokens(folder: Path, known: dict[str, int], *sources: dict[str, Any]) -> None:
    """Refuse far more tokens than tokenizer.json has: transformers adds each, in a time that grows with the square."""
    lists = [values.get(key) for values in sources for key in _TOKEN_LISTS]
    entries = [one for each in lists for one in (each.values() if isinstance(each, dict) else each or ())]
    texts = {one.get("content") if isinstance(one, dict) else one for one in entries if isinstance(one, dict | str)}
    if len(texts) > _MOST_TOKENS or (known and len(texts - known.keys()) > _MOST_NEW_TOKENS):
        raise damaged(folder / "tokenizer_config.json", tr("it adds far too many tokens"))


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
    if path.stat().st_size > _MOST_TOKENIZER_BYTES:
        raise damaged(path, tr("it is far too long"))
    try:
        return Tokenizer.from_file(str(path))
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # the library raises nothing narrower, and a panic of Rust is not even an Exception
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


def read_template(folder: Path) -> str | None:
    """Return the template that conversations are rendered with, None without one. Raises `ModelError`.

    transformers looks for it in this order, and where there is any template file, not in the tokenizer's settings.
    What stands in chat_template.json alone, it gives to processors only; `load_tokenizer` gives it to the tokenizer.
    """
    more = sorted(path.name for path in (folder / MORE_TEMPLATES).glob("*.jinja"))
    files = [member(folder, "chat_template.jinja"), *(member(folder, name, MORE_TEMPLATES) for name in more)]
    texts = {path.name: _template_text(path) for path in files if path}
    if texts:
        return texts.get("default.jinja") or texts.get("chat_template.jinja")
    values = read_json(folder, "tokenizer_config.json") or {}
    value = values.get("chat_template") or (read_json(folder, "chat_template.json") or {}).get("chat_template")
    if isinstance(value, list):
        value = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
    if isinstance(value, dict):
        value = value.get("default")
    return value if isinstance(value, str) and value.strip() else None


def _template_text(path: Path) -> str:
    try:
        return read_bytes(path, _MOST_TEMPLATE_BYTES).decode()
    except OSError as error:
        raise damaged(path, error.strerror or one_line(error)) from error
    except UnicodeDecodeError as error:
        raise damaged(path, tr("it is not UTF-8 text")) from error


def end_ids(folder: Path, config: dict[str, Any]) -> list[int]:
    """Return the ids of the tokens at which generation ends, as generation_config.json or config.json has them."""
    generation = read_json(folder, "generation_config.json") or {}
    text = config.get("text_config")
    places = (generation, config, text if isinstance(text, dict) else {})
    value = next((place["eos_token_id"] for place in places if place.get("eos_token_id") is not None), None)
    values = value if isinstance(value, list) else [value]
    return [number for number in values if type(number) is int and 0 <= number < 1 << 31]
