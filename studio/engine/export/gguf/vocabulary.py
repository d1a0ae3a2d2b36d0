"""The tokenizer of a model folder as llama.cpp takes it: tokens, merges, special tokens, and how text is cut first.

llama.cpp reads no tokenizer.json. It has two kinds of tokenizer that are of use here: byte-level BPE (`gpt2`), which
cuts text by one of a list of patterns that it knows by name, and SentencePiece's BPE (`llama`). A tokenizer that cuts
text in any other way is refused: the nearest name would be a guess, and a wrong one changes tokens silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.models.files import GENERATION_CONFIG, read_json
from studio.engine.models.tokenizer_files import TOKENIZER, read_template
from studio.errors import ExportError
from studio.i18n import tr

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Of GGUF's token types (`TokenType`).
_NORMAL, _UNKNOWN, CONTROL, _USER_DEFINED, UNUSED, _BYTE = 1, 2, 3, 4, 5, 6

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{%s}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _CL100K % "1,3"
_QWEN2 = (_CL100K % "1").replace("{1}", "")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORDS = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%s"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_GPT4O = _WORDS % (_ENDINGS, _ENDINGS) + r"|\p{N}{1,3}" + _REST
_TEKKEN = _WORDS % ("", "") + r"|\p{N}" + _REST
# The steps of a pre-tokenizer, whether whole words are looked up before merging, and llama.cpp's name of both.
_DIGITS, _BYTES = "digits", "bytes"
_KNOWN: dict[tuple[tuple[str, ...], bool], str] = {
    ((_GPT2, _BYTES), False): "gpt-2",
    ((_DIGITS, _GPT2, _BYTES), False): "smollm",
    ((_LLAMA3, _BYTES), True): "llama-bpe",
    ((_LLAMA3, _BYTES), False): "smaug-bpe",
    ((_QWEN2, _BYTES), False): "qwen2",
    ((_GPT4O, _BYTES), False): "gpt-4o",
    ((_TEKKEN, _BYTES), True): "tekken",
}


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What a GGUF file says of a tokenizer.

    Attributes:
        model: `gpt2` or `llama`.
        pre: llama.cpp's name for the way text is cut.
        tokens: text of each token, by id; `types` are their kinds.
        merges: pairs of tokens, best first; byte-level BPE alone.
        scores: the better, the earlier a token is made; SentencePiece alone.
        special: ids by their names in the file, such as `eos`.
        add_bos, add_eos: what the tokenizer puts around a text.
        add_space: whether a text begins with a space, as SentencePiece does; None where that does not apply.
        template: source of the chat template, None without one.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    special: dict[str, int]
    add_bos: bool
    add_eos: bool
    add_space: bool | None = None
    template: str | None

    def write(self, writer: Any) -> None:
        """Write all of it with a `gguf.GGUFWriter`."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.merges:
            writer.add_token_merges(self.merges)
        if self.scores:
            writer.add_token_scores(self.scores)
        for name, number in self.special.items():
            getattr(writer, f"add_{name}_token_id")(number)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        if self.add_space is not None:
            writer.add_add_space_prefix(self.add_space)
        if self.template:
            writer.add_chat_template(self.template)


def read_vocabulary(folder: Path, rows: int) -> Vocabulary:
    """Return the tokenizer of a model folder.

    Args:
        rows: how many rows the embedding has; those without a token are marked as unused.

    Raises:
        ExportError: llama.cpp has no such tokenizer.
        ModelError: a file of it is damaged.
    """
    from tokenizers import Tokenizer

    state = read_json(folder, TOKENIZER)
    if state is None:
        raise ExportError(
            tr("{folder} has no tokenizer.json, so it cannot be written as GGUF.").format(folder=folder.name)
        )
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    model = state["model"]
    if model["type"] != "BPE" or not model["merges"]:
        raise _unknown(model["type"])
    known = {number: token for token, number in tokenizer.get_vocab(with_added_tokens=True).items()}
    if max(known) >= rows:
        raise ExportError(tr("The tokenizer has more tokens than the model, so it cannot be written as GGUF."))
    tokens = tuple(known.get(number, f"[PAD{number}]") for number in range(rows))
    special = _special(folder, tokenizer)
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    sentencepiece = bool(model.get("byte_fallback"))
    types = _types(state, tokens, set(known), sentencepiece)
    add_bos, add_eos = _around(tokenizer, special)
    return Vocabulary(
        model="llama" if sentencepiece else "gpt2",
        pre="default" if sentencepiece else _pre_tokenizer(state),
        tokens=tokens,
        types=types,
        # A token never holds a space of its own; one that does is written as llama.cpp's converter does.
        merges=() if sentencepiece else tuple(" ".join(part.replace(" ", "Ġ") for part in pair) for pair in merges),
        scores=_scores(tokens, types, merges) if sentencepiece else (),
        special=special,
        add_bos=add_bos,
        add_eos=add_eos,
        add_space=_adds_space(state) if sentencepiece else None,
        template=read_template(folder),
    )


def _unknown(what: Any) -> ExportError:
    return ExportError(
        tr(
            "llama.cpp has no tokenizer that is known to cut text as this one does ({what}), so it cannot be written "
            "as GGUF; export it as a merged model."
        ).format(what=what)
    )


def _pre_tokenizer(state: dict[str, Any]) -> str:
    """Return llama.cpp's name of a byte-level pre-tokenizer. Raises `ExportError` for one that is not known."""
    # NFC changes only text that is not composed; llama.cpp's `qwen2` does without it too.
    if (state.get("normalizer") or {"type": "NFC"})["type"] != "NFC":
        raise _unknown(state["normalizer"]["type"])
    before = state.get("pre_tokenizer") or {"type": "none"}
    parts = before["pretokenizers"] if before["type"] == "Sequence" else [before]
    steps = tuple(step for part in parts for step in _steps(part))
    name = _KNOWN.get((steps, bool(state["model"].get("ignore_merges"))))
    if name is None:
        raise _unknown(" + ".join(part["type"] for part in parts))
    return name


def _steps(part: dict[str, Any]) -> tuple[str, ...]:
    kind = part["type"]
    if kind == "Digits" and part["individual_digits"]:
        return (_DIGITS,)
    if kind == "ByteLevel" and not part["add_prefix_space"]:
        return (_GPT2, _BYTES) if part.get("use_regex", True) else (_BYTES,)
    pattern = part.get("pattern", {}).get("Regex")
    if kind == "Split" and part["behavior"] == "Isolated" and not part["invert"] and pattern:
        return (_DIGITS,) if pattern == r"\p{N}" else (pattern,)
    return (kind,)


def _types(state: dict[str, Any], tokens: Sequence[str], known: set[int], sentencepiece: bool) -> tuple[int, ...]:
    types = [_NORMAL if number in known else UNUSED for number in range(len(tokens))]
    if sentencepiece:
        for number, token in enumerate(tokens):
            if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
                types[number] = _BYTE
    for added in state["added_tokens"]:
        types[added["id"]] = CONTROL if added["special"] else _USER_DEFINED
    unknown = state["model"].get("unk_token")
    if sentencepiece and unknown in tokens:
        types[tokens.index(unknown)] = _UNKNOWN
    return tuple(types)


def _scores(tokens: Sequence[str], types: Sequence[int], merges: Sequence[Sequence[str]]) -> tuple[float, ...]:
    """Return scores by which llama.cpp merges in the order of `merges`: it takes the best pair first."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merges):
        ranks.setdefault("".join(pair), rank)
    return tuple(
        0.0 if kind == _BYTE else -1000.0 if kind in (CONTROL, _USER_DEFINED) else -float(ranks.get(token, 1e9))
        for token, kind in zip(tokens, types, strict=True)
    )


def _adds_space(state: dict[str, Any]) -> bool:
    """Return whether SentencePiece's space stands in front of a text. Raises `ExportError` for other steps."""
    normalizer = state.get("normalizer") or {"type": "Sequence", "normalizers": []}
    steps = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    before = state.get("pre_tokenizer") or {"type": "Split", "pattern": {"String": " "}}
    prepends = False
    for step in steps:
        if step["type"] == "Prepend" and step["prepend"] == "▁":
            prepends = True
        elif not (step["type"] == "Replace" and step["pattern"] == {"String": " "} and step["content"] == "▁"):
            raise _unknown(step["type"])
    if before["type"] == "Metaspace":
        return str(before.get("prepend_scheme", "always")) != "never"
    if before["type"] != "Split" or before["pattern"] != {"String": " "}:
        raise _unknown(before["type"])
    return prepends


def _special(folder: Path, tokenizer: Tokenizer) -> dict[str, int]:
    """Return the special tokens' ids: those of the tokenizer's settings, and the other tokens that end an answer."""
    values = (read_json(folder, "tokenizer_config.json") or {}) | (read_json(folder, "special_tokens_map.json") or {})
    found = {}
    for name in ("bos", "eos", "unk", "pad"):
        token = values.get(f"{name}_token")
        number = tokenizer.token_to_id(token.get("content", "") if isinstance(token, dict) else token or "")
        if number is not None:
            found[name] = number
    ends = (read_json(folder, GENERATION_CONFIG) or {}).get("eos_token_id")
    ends = [ends] if isinstance(ends, int) else list(ends or ())
    others = [number for number in ends if number != found.get("eos")]
    if "eos" not in found and others:
        found["eos"] = others.pop(0)
    # llama.cpp has three keys whose tokens all end an answer; further ones it has to know by their text.
    return found | dict(zip(("eot", "eom"), others, strict=False))


def _around(tokenizer: Tokenizer, special: dict[str, int]) -> tuple[bool, bool]:
    """Return whether BOS and EOS stand around a text. Raises `ExportError` where anything else does."""
    text = "Hello"
    plain, full = tokenizer.encode(text, add_special_tokens=False).ids, tokenizer.encode(text).ids
    for bos in (False, True):
        for eos in (False, True):
            first = [special["bos"]] if bos and "bos" in special else []
            last = [special["eos"]] if eos and "eos" in special else []
            if [*first, *plain, *last] == full:
                return bos, eos
    raise ExportError(
        tr(
            "The tokenizer puts tokens in front of every text that llama.cpp would leave out, so it cannot be written "
            "as GGUF."
        )
    )
