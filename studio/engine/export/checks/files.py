"""Checks of an export's files that need no model: each is the base's or the run's own, but for what had to change.

They find what no output shows: what another program reads in place of what transformers 5 does.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.engine.dtypes import torch_dtype
from studio.engine.export.base import ModelTarget
from studio.engine.export.carry import OF_THE_FILES, older_keys, says_the_same
from studio.engine.export.certificate import Check
from studio.engine.export.prefix import Prefix
from studio.engine.export.source import Source
from studio.engine.export.tokenizer import AS_IT_STANDS, DROPPED, SPECIAL_TOKENS, TEMPLATE, steps
from studio.engine.export.tokenizer import CONFIG as TOKENIZER_CONFIG
from studio.engine.models.config import load_config, sanitised
from studio.engine.models.files import INDEX, TOKENIZER_FILES, WEIGHTS, member, sha256
from studio.engine.models.headers import read_header
from studio.engine.models.tokenizer_files import TOKENIZER
from studio.errors import ModelError
from studio.files import is_file, read_json

# Differences that a sentence names; the others are counted.
_NAMED = 3
_MOST_BYTES = 1 << 27  # of a tokenizer.json
# What other programs take for weights, or run.
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".py")
# What new tokens change in config.json, beside the weights.
_OF_THE_VOCABULARY = frozenset({"vocab_size", "tie_word_embeddings"})
# What config.json says of the files; their format is compared.
_OF_FILES = OF_THE_FILES - {"torch_dtype", "dtype"}
_ABSENT = object()


def file_checks(source: Source, target: ModelTarget, dtype: str, prefix: Prefix, folder: Path) -> tuple[Check, ...]:
    """Return the checks of tokenizer files, configuration and weight files, or of the trained part and its base."""
    tokenizer = _check("tokenizer_files", _tokenizer_differences(source, prefix, folder))
    if not target.plain_model:
        return (tokenizer, _check("trained_part_carried", _trained_part_differences(source, target, folder)))
    return (
        tokenizer,
        _check("config_carried", _config_differences(source, target, dtype, folder)),
        _check("weight_files", _weight_differences(folder)),
    )


def _check(name: str, differences: Iterator[str]) -> Check:
    found = list(differences)
    return Check.of(name, not found, len(found), 0, differences=found[:_NAMED])


def _tokenizer_differences(source: Source, prefix: Prefix, folder: Path) -> Iterator[str]:
    """Yield what is not the base's among the tokenizer's files; of the templates, other checks know."""
    for name in TOKENIZER_FILES:
        path, own = folder / name, member(source.base, name)
        if name == TEMPLATE or (own and is_file(path) and sha256(path) == sha256(own)):
            continue
        before, now = read_table(own) if own else None, read_table(path)
        if name == TOKENIZER and prefix.tokenizer.is_fast:
            differing: Iterable[str] = _steps_that_differ(prefix, before, now)
        elif name in (TOKENIZER_CONFIG, SPECIAL_TOKENS) and now is not None:
            differing = _settings_that_differ(prefix, before or {}, now)
        elif own or is_file(path):
            yield name
            continue
        else:
            continue
        yield from (f"{name}: {key}" for key in differing)


def _steps_that_differ(prefix: Prefix, base: Mapping[str, Any] | None, found: Mapping[str, Any] | None) -> list[str]:
    """Return the parts of tokenizer.json that are not those of the base's file, nor of its tokenizer, and prefix."""
    made = steps(json.loads(prefix.tokenizer.backend_tokenizer.to_str()))
    wanted = [made]
    if base is not None:
        known = {token["id"] for token in base["added_tokens"]}
        new = [token for token in made["added_tokens"] if prefix.ids and token["id"] not in known]
        first = made if prefix.ids and not prefix.in_template else base
        wanted.append(
            steps({**base, "added_tokens": [*base["added_tokens"], *new], "post_processor": first["post_processor"]})
        )
    return min((_differing(one, steps(dict(found or {}))) for one in wanted), key=len)


def _settings_that_differ(prefix: Prefix, base: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of tokenizer_config.json that are not the base's; those of version 5 may have older names."""
    wanted = prefix.tokenizer
    kept = {key: value for key, value in base.items() if key not in DROPPED}
    allowed = {
        "tokenizer_class": [AS_IT_STANDS, type(wanted).__name__],
        "additional_special_tokens": [kept.get("extra_special_tokens", _ABSENT)],
        "extra_special_tokens": [_ABSENT],
        "eos_token": [wanted.eos_token],
        "chat_template": [found.get("chat_template", _ABSENT)],
    }
    for key in _differing(kept, found):
        value = found.get(key, _ABSENT)
        if key == "added_tokens_decoder" and isinstance(value, dict):
            added = {str(token) for token in prefix.ids} | {str(token) for token in wanted.added_tokens_decoder}
            if not _differing(kept.get(key, {}), value, added - kept.get(key, {}).keys()):
                continue
        if value not in allowed.get(key, []):
            yield key


def _config_differences(source: Source, target: ModelTarget, dtype: str, folder: Path) -> Iterator[str]:
    """Yield the keys of config.json that say something else of the model than the base's, to any reader."""
    from transformers import CONFIG_MAPPING

    found = read_table(folder / "config.json")
    if found is None or found.get("model_type") not in CONFIG_MAPPING:
        yield "config.json"
        return
    base = sanitised(read_json(source.base / "config.json"))
    but = _OF_THE_VOCABULARY if target.adds_tokens else frozenset()
    wanted = _spelt_out(load_config(source.base), but) | {"dtype": str(torch_dtype(dtype)).removeprefix("torch.")}
    try:
        now = _spelt_out(CONFIG_MAPPING[found["model_type"]].from_dict(copy.deepcopy(sanitised(found))), but)
        older = older_keys(base, found)
        missing = _differing(found | older, found) if says_the_same(found, found | older) else []
    except Exception:  # noqa: BLE001  # each config class raises what it likes
        yield "config.json"
        return
    # Keys of which transformers 5 knows nothing, and other programs may.
    known = wanted | older_keys(base, wanted)
    strange = [key for key in found.keys() - known.keys() - _OF_FILES if key not in but]
    other = [key for key in known.keys() & found.keys() - wanted.keys() if found[key] != known[key] and key not in but]
    changed = [key for key in _differing(wanted, now) if key in wanted]
    yield from sorted({*changed, *missing, *strange, *other})


def _spelt_out(config: Any, but: Collection[str]) -> dict[str, Any]:
    """Return what a configuration says with every default, but for some keys in it and in those inside it."""
    values: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    for key, inner in values.items():
        if isinstance(inner, dict):
            values[key] = {name: value for name, value in inner.items() if name not in (*but, *OF_THE_FILES)}
    return {key: value for key, value in values.items() if key not in (*but, *_OF_FILES) and not key.startswith("_")}


def _weight_differences(folder: Path) -> Iterator[str]:
    """Yield weights that do not lie where the index has them, files that cannot be read, and files of other weights."""
    headers: dict[str, Collection[str]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            headers[path.name] = read_header(path)
        except ModelError:
            yield path.name
    index = {} if is_file(folder / WEIGHTS) else (read_table(folder / INDEX) or {}).get("weight_map")
    places = {(str(file), tensor) for tensor, file in index.items()} if isinstance(index, dict) else set()
    listed = {file for file, _ in places} or {WEIGHTS}
    found = {(file, tensor) for file in listed & headers.keys() for tensor in headers[file]} if places else places
    yield from (f"{file}: {tensor}" for file, tensor in sorted(places ^ found))
    yield from sorted(_weight_files(folder) ^ listed)


def _trained_part_differences(source: Source, target: ModelTarget, folder: Path) -> Iterator[str]:
    """Yield the files that are not the run's, or do not say which base they belong to."""
    copies, notes = target.copies(source), target.notes(source)
    for name, own in copies.items():
        if not is_file(folder / name) or sha256(folder / name) != sha256(own):
            yield name
    for name, wanted in notes.items():
        found = read_table(folder / name)
        yield from [name] if found is None else [f"{name}: {key}" for key in _differing(wanted, found)]
    yield from sorted(_weight_files(folder) - copies.keys() - target.programs)


def _weight_files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if file.suffix in _WEIGHTS}


def read_table(path: Path) -> dict[str, Any] | None:
    """Return the table in a JSON file; None where there is none that can be read."""
    try:
        return read_json(path, _MOST_BYTES)
    except (OSError, ValueError):
        return None


def _differing(wanted: Mapping[str, Any], found: Mapping[str, Any], but: Collection[str] = ()) -> list[str]:
    keys = sorted(wanted.keys() | found.keys())
    return [key for key in keys if key not in but and wanted.get(key, _ABSENT) != found.get(key, _ABSENT)]
