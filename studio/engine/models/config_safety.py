"""What of a config.json is believed: it comes from strangers, and transformers obeys some of its keys.

transformers 5 writes an infinite number as `{"__float__": "Infinity"}`, because JSON has none; it is read back here.

`_attn_implementation` and its like name kernels to download and run, `auto_map` names Python files to run,
and `transformers_weights` another file to load.
"""

from __future__ import annotations

from typing import Any

_DROPPED = {"auto_map", "quantization_config", "transformers_weights", "attn_implementation", "experts_implementation"}
_DROPPED_PREFIXES = ("_attn_implementation", "_experts_implementation", "_name_or_path")


def sanitised(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config without the keys that load or run something, at any depth."""
    return {key: _clean(value) for key, value in config.items() if not _is_dropped(key)}


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        number = value.get("__float__")
        return float(number) if number in ("Infinity", "-Infinity", "NaN") else sanitised(value)
    return [_clean(inner) for inner in value] if isinstance(value, list) else value


def _is_dropped(key: str) -> bool:
    return key in _DROPPED or key.startswith(_DROPPED_PREFIXES)
