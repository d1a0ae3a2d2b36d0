"""Act on the window by chance: on all pages and dialogs, in both languages, with tiny trainings, closed and reopened.

    python -m tests.ui.monkey [ACTIONS] [SEED] [PATIENCE]

prints every finding with the actions before it, and how many actions were done; it returns 1 where something was found.
PATIENCE is how long, in seconds, the window may take to answer. The same seed makes the same choices; how far threads
and processes are meanwhile is not repeated.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

NOWHERE = "http://127.0.0.1:9"  # the port "discard", at which nobody listens


def environment(place: Path) -> dict[str, str]:
    """Return the variables that keep the process and its children in a folder, off the network and off the desktop."""
    folders = {
        "HOME": "user",
        "XDG_DATA_HOME": "user/data",
        "XDG_CACHE_HOME": "user/cache",
        "XDG_CONFIG_HOME": "user/config",
        "XDG_RUNTIME_DIR": "user/run",
        "FINETUNE_STUDIO_HOME": "home",
        "FINETUNE_STUDIO_CACHE": "cache",
    }
    for folder in folders.values():
        (place / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    return {name: str(place / folder) for name, folder in folders.items()} | {
        "QT_QPA_PLATFORM": "offscreen",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_ENDPOINT": NOWHERE,
        "PIP_INDEX_URL": NOWHERE,
        "PIP_RETRIES": "0",
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={place}/no-bus",
        "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={place}/no-bus",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }


def main(actions: int = 1000, seed: int = 1, patience: float = 5.0) -> int:
    """Run as a command."""
    place = Path(tempfile.mkdtemp(prefix="monkey-"))
    os.environ.update(environment(place))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]

    from tests.ui.monkey.monkey import act_by_chance  # libraries read these variables when they are imported

    begun = time.monotonic()
    monkey, watch, sandbox = act_by_chance(place, actions, seed, patience)
    seconds = time.monotonic() - begun
    print(
        f"seed {seed}: {watch.actions} actions in {seconds:.0f} s ({watch.actions / seconds:.1f} a second), "
        f"{monkey.sessions} sessions, the page kept {monkey.kept} of {monkey.reopened} times, "
        f"{watch.expected} refusals in the log, {len(watch.findings)} findings"
    )
    print(f"asked of the world outside: {dict(sandbox.asked)}")
    if watch.findings:
        print(f"what was done, and its folders: {place}")
        return 1
    shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    given = sys.argv[1:]
    raise SystemExit(main(*(int(one) for one in given[:2]), *(float(one) for one in given[2:3])))
