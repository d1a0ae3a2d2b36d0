"""What the engine sets before any library is loaded: no telemetry, and bounds for torch's caches of compiled products."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = """
import json, os, sys
import studio.engine
assert not {"torch", "huggingface_hub"} & set(sys.modules)
assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
print(json.dumps([os.environ[name] for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")]))
"""


def _capacities(**given: str) -> list[str]:
    kept = {key: value for key, value in os.environ.items() if not key.endswith("CACHE_CAPACITY")}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=kept | given, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def test_telemetry_is_off_and_the_caches_are_bounded_unless_the_user_has_set_them() -> None:
    assert _capacities() == ["128", "128"]
    assert _capacities(LRU_CACHE_CAPACITY="7") == ["128", "7"]
