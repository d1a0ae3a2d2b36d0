"""config.json: what of it is believed, and the class of transformers that it names.

It comes from strangers, and transformers obeys some of its keys: `_attn_implementation` and its like name kernels to
download and run, `auto_map` names Python files to run, and `transformers_weights` another file to load.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.engine.models.files import damaged, one_line, other_weights, read_json
from studio.errors import ModelError
from studio.i18n import tr

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_LARGEST = 2**53
_MOST_LAYERS = 10_000
_CAUSAL = ("ForCausalLM", "LMHeadModel")
# A language model packaged with vision or audio. Its part on text is trained.
_PACKAGED = "ForConditionalGeneration"
# Names of before the model came into transformers, with other settings or weights than it has there.
_RENAMED = {
    "RWForCausalLM": "FalconForCausalLM",
    "YiForCausalLM": "LlamaForCausalLM",
    "MixFormerSequentialForCausalLM": "PhiForCausalLM",
    "StableLMEpochForCausalLM": "StableLmForCausalLM",
    "GPT2LMHeadCustomModel": "GPTBigCodeForCausalLM",
}
# What transformers had until version 4.
_GIVEN_UP = ("OpenLlamaForCausalLM", "MegaForCausalLM", "TransfoXLLMHeadModel", "QDQBertLMHeadModel")
# The labels of classifiers: transformers makes as many names as are stated.
_LABELS = {"num_labels", "id2label", "label2id"}
_DROPPED = _LABELS | {
    "auto_map",
    "quantization_config",
    "transformers_weights",
    "attn_implementation",
    "experts_implementation",
}
_DROPPED_PREFIXES = ("_attn_implementation", "_experts_implementation", "_name_or_path")


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json as it stands. Raises `ModelError` when the folder is not that of a whole model."""
    if not folder.is_dir():
        raise ModelError(tr("The model folder {folder} does not exist; choose another.").format(folder=folder))
    if (folder / "adapter_config.json").is_file():
        raise _adapter(folder)
    config = read_json(folder, "config.json")
    if config is not None:
        check_numbers(folder, config)
        return config
    words = tr("{folder} is not a model folder: it has no config.json.")
    if (folder / "config.toml").is_file() and (folder / "state.json").is_file():
        words = tr("{folder} is a run, not a model; export it as a merged model, and choose the folder of that.")
    raise other_weights(folder) or ModelError(words.format(folder=folder))


def check_numbers(folder: Path, config: dict[str, Any]) -> None:
    """Refuse numbers that no model has: transformers makes a list as long as the number of layers, for instance."""
    values: list[Any] = [config]
    while values:
        value = values.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in inner:
            if isinstance(one, dict | list):
                values.append(one)
            elif isinstance(one, int) and (abs(one) >= _LARGEST or ("layer" in str(key) and one > _MOST_LAYERS)):
                raise damaged(folder / "config.json", tr("{key} is absurdly large").format(key=repr(key)[:60]))


def _adapter(folder: Path) -> ModelError:
    base = (read_json(folder, "adapter_config.json") or {}).get("base_model_name_or_path")
    return ModelError(
        tr("{folder} is an adapter, not a whole model; choose the model it was trained on ({base}).").format(
            folder=folder, base=base or tr("not named")
        )
    )


@functools.cache
def _classes() -> frozenset[str]:
    """Return the names that transformers has. Listing them takes a good part of a second, and imports no torch."""
    import transformers

    return frozenset(dir(transformers))


def architecture(folder: Path, config: dict[str, Any]) -> str:
    """Return the model class, one that transformers itself has.

    A name that is only spelt in an older way stands for today's class of that model type.
    """
    import transformers

    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    packaged = name.endswith(_PACKAGED) and isinstance(config.get("text_config"), dict)
    if not (name.endswith(_CAUSAL) or packaged) or config.get("is_encoder_decoder") is True:
        raise ModelError(
            tr("{folder} is not a causal language model ({architecture}); choose one that continues text.").format(
                folder=folder, architecture=name or config.get("model_type") or tr("no architecture is named")
            )
        )
    known = _classes()
    if name in known:
        return name
    today = {_letters(one): one for one in known if one.endswith((*_CAUSAL, _PACKAGED))}.get(_letters(name))
    if today and _model_type(config) in transformers.CONFIG_MAPPING:
        return today
    if today := today or _RENAMED.get(name):
        raise ModelError(
            tr(
                "{name} in {folder} is an old name of {today}, whose files have changed since; download the model "
                "again, or choose a version of it whose config.json names {today}."
            ).format(name=name, folder=folder, today=today)
        )
    if name in _GIVEN_UP:
        raise ModelError(
            tr("{name} in {folder} is a model that transformers has given up; choose another model.").format(
                name=name, folder=folder
            )
        )
    if "auto_map" in config:
        raise ModelError(
            tr(
                "The model in {folder} brings program code of its own, which is never run here; choose one that "
                "transformers supports by itself."
            ).format(folder=folder)
        )
    raise unknown_model(folder, name)


def _letters(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _model_type(config: dict[str, Any]) -> str:
    """Return the model type as transformers spells it; one that it does not know as it stands."""
    import transformers

    name = str(config.get("model_type"))
    if name in transformers.CONFIG_MAPPING:
        return name
    return {_letters(one): one for one in transformers.CONFIG_MAPPING}.get(_letters(name), name)


def unknown_model(folder: Path, name: str) -> ModelError:
    """Return the error for a model that this version of transformers does not have."""
    import transformers

    return ModelError(
        tr("{name} in {folder} is not known to transformers {version}; update Finetune Studio.").format(
            name=name, folder=folder, version=transformers.__version__
        )
    )


def load_config(path: Path) -> PretrainedConfig:
    """Return config.json as transformers' own class, without what would load or run something else.

    Raises:
        ModelError: there is none, or transformers does not know the model.
    """
    return as_config(path, read_config(path))


def as_config(path: Path, found: dict[str, Any]) -> PretrainedConfig:
    """Return what a config.json holds as transformers' own class; `path` is only named. Raises `ModelError`."""
    from transformers import CONFIG_MAPPING

    values = sanitised(found)
    values["architectures"], name = [architecture(path, values)], _model_type(values)
    values["model_type"] = name
    if name not in CONFIG_MAPPING:
        raise unknown_model(path, name)
    try:
        config: PretrainedConfig = CONFIG_MAPPING[name].from_dict(values)
    except Exception as error:  # whatever a config class makes of strange values, config.json is at fault
        raise damaged(path / "config.json", one_line(error)) from error
    return config


def sanitised(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config without the keys that load or run something, at any depth."""
    return {
        key: _clean(value)
        for key, value in config.items()
        if key not in _DROPPED and not key.startswith(_DROPPED_PREFIXES)
    }


def _clean(value: Any) -> Any:
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"__float__"}:  # JSON has no infinity; transformers 5 writes it so
        return {"Infinity": math.inf, "-Infinity": -math.inf}.get(value["__float__"], value)
    return sanitised(value)
