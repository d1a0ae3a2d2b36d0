"""The tokenizer of an export: the base's own files, byte for byte, but for what the export needs otherwise.

`save_pretrained` would write them anew, in a form that older versions of transformers, and other programs, do not read.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.export.prefix import Prefix
from studio.engine.export.reload import reload_tokenizer
from studio.engine.models.files import TOKENIZER_FILES, member, read_json
from studio.engine.models.tokenizer_files import MORE_TEMPLATES, TOKENIZER

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONFIG, SPECIAL_TOKENS, TEMPLATE = "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"
# What tokenizer_config.json must not say: paths of whoever saved it, and code to run. transformers drops them too.
DROPPED = ("auto_map", "name_or_path", "special_tokens_map_file", "tokenizer_file")
# The class that takes tokenizer.json as it stands, as the run did. transformers 5 has another name for it.
AS_IT_STANDS = "PreTrainedTokenizerFast"
_RENAMED = "TokenizersBackend"


def carry_tokenizer(base: Path, prefix: Prefix, folder: Path) -> None:
    """Write tokenizer and chat template into an export's folder, so that transformers 4 and 5 read what the run read.

    A setting is changed only where plain transformers would read something else than the run did out of the files.
    """
    wanted = prefix.tokenizer
    for file in tokenizer_files(base):
        (folder / file.relative_to(base)).parent.mkdir(exist_ok=True)
        shutil.copyfile(file, folder / file.relative_to(base))
    if wanted.is_fast and not (folder / TOKENIZER).exists():
        _write_whole(wanted, folder)
    elif prefix.ids:
        _add_tokens(prefix, folder)
    _change_config(folder, _for_transformers_4)
    if prefix.ids and not prefix.in_template:
        # Other classes make the tokens that stand in front of a text anew.
        _name_class(folder, AS_IT_STANDS)
    found = try_reload(folder)
    if not same_tokenizer(found, wanted):
        _name_class(folder, AS_IT_STANDS if wanted.is_fast else type(wanted).__name__)
        found = try_reload(folder)
    if found is None or found.eos_token != wanted.eos_token:
        _name_end(wanted, folder)
        found = try_reload(folder)
    if wanted.is_fast and not same_tokenizer(found, wanted):
        _write_whole(wanted, folder)
    if found is None or found.chat_template != wanted.chat_template:
        _write_template(wanted.chat_template, folder)


def tokenizer_files(base: Path) -> list[Path]:
    """Return the files of a model's tokenizer and of its chat templates. Raises `ModelError` for one that leads out."""
    more = (path.name for path in sorted((base / MORE_TEMPLATES).glob("*.jinja")))
    found = [member(base, name) for name in TOKENIZER_FILES] + [member(base, name, MORE_TEMPLATES) for name in more]
    return [file for file in found if file]


def try_reload(folder: Path) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer as plain transformers opens it; None where it cannot."""
    try:
        return reload_tokenizer(folder)
    except Exception:  # noqa: BLE001  # tokenizers raises bare Exceptions, and each class what it likes
        return None


def same_tokenizer(found: PreTrainedTokenizerBase | None, wanted: PreTrainedTokenizerBase) -> bool:
    """Return whether two tokenizers have the same vocabulary and the same steps; slow ones need only have one."""
    if found is None or not wanted.is_fast:
        return found is not None
    if not found.is_fast:
        return False
    one, other = found.backend_tokenizer.to_str(), wanted.backend_tokenizer.to_str()
    return one == other or steps(json.loads(one)) == steps(json.loads(other))


def steps(state: dict[str, Any]) -> dict[str, Any]:
    """Return what tokenizer.json says but for cutting and padding, which each call chooses."""
    return {key: value for key, value in state.items() if key not in ("truncation", "padding")}


def _add_tokens(prefix: Prefix, folder: Path) -> None:
    """Add the prefix to tokenizer.json, with all that only tokenizer_config.json adds before it."""
    state = read_json(folder, TOKENIZER) or {}
    made = json.loads(prefix.tokenizer.backend_tokenizer.to_str())
    known = {token["id"] for token in state["added_tokens"]}
    new = [token for token in made["added_tokens"] if token["id"] not in known]
    state["added_tokens"] += new
    if not prefix.in_template:
        state["post_processor"] = made["post_processor"]
    write_json(folder / TOKENIZER, state)

    def with_tokens(config: dict[str, Any]) -> dict[str, Any]:
        listed = config.get("added_tokens_decoder")
        if not isinstance(listed, dict):
            return config
        entries = {str(token["id"]): {key: token[key] for key in token if key != "id"} for token in new}
        return config | {"added_tokens_decoder": listed | entries}

    _change_config(folder, with_tokens)


def _write_whole(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    write_json(
        folder / TOKENIZER, json.loads(tokenizer.backend_tokenizer.to_str()) | {"truncation": None, "padding": None}
    )


def _for_transformers_4(config: dict[str, Any]) -> dict[str, Any]:
    """Return tokenizer_config.json under the names that version 4 knows; version 5 reads these too."""
    kept = {key: value for key, value in config.items() if key not in DROPPED}
    if kept.get("tokenizer_class") == _RENAMED:
        kept["tokenizer_class"] = AS_IT_STANDS
    if isinstance(kept.get("extra_special_tokens"), list):
        kept["additional_special_tokens"] = kept.pop("extra_special_tokens")
    return kept


def _change_config(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write tokenizer_config.json again where `change` makes another one of it."""
    path = folder / CONFIG
    before = read_json(folder, CONFIG) or {}
    after = change(before)
    if after != before:
        write_json(path, after)


def _name_class(folder: Path, name: str) -> None:
    _change_config(folder, lambda config: config | {"tokenizer_class": name})


def _name_end(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Name the token that ends an answer; special_tokens_map.json goes before the settings where it has one."""
    end = {"eos_token": tokenizer.eos_token}
    _change_config(folder, lambda config: config | end)
    values = read_json(folder, SPECIAL_TOKENS) or {}
    if "eos_token" in values:
        write_json(folder / SPECIAL_TOKENS, values | end)


def _write_template(template: Any, folder: Path) -> None:
    """Write the template, or several by name, where the base has its own: in the settings, in files, or in both."""
    texts: dict[str, str] = template if isinstance(template, dict) else {"default": template} if template else {}
    files = [folder / TEMPLATE, *(folder / MORE_TEMPLATES).glob("*.jinja")]
    in_files = any(file.exists() for file in files)
    config = read_json(folder, CONFIG) or {}
    if "chat_template" in config:
        several = [{"name": name, "template": text} for name, text in texts.items()]
        said = {"chat_template": several if isinstance(template, dict) else template}
        _change_config(folder, lambda config: config | said)
    if "chat_template" in config and not in_files:
        return
    for file in files:
        file.unlink(missing_ok=True)
    for name, text in texts.items():
        path = folder / (TEMPLATE if name == "default" else f"{MORE_TEMPLATES}/{name}.jinja")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write an object as the libraries write theirs: indented, in UTF-8."""
    path.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
