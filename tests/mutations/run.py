"""Check that the tests bite: make one wrong change after another to a copy of the project, and see a test fail.

    python tests/mutations/run.py                  all of mutations.toml, prints `N of N caught`
    python tests/mutations/run.py scaler mixing    those whose name contains one of these words

The exit status is 1 when a change passed its tests.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("mutations.toml")
COPIED = ("studio", "tests", "resources", "packaging", "pyproject.toml", "README.md", "README.zh-CN.md", "LICENSE")


@dataclass(frozen=True)
class Mutation:
    """One wrong change.

    Attributes:
        name: what goes wrong, in a few words.
        file: path from the project's root.
        before: text that stands in the file exactly once.
        after: what replaces it.
        tests: arguments for pytest, separated by spaces; one of these tests must fail.
    """

    name: str
    file: str
    before: str
    after: str
    tests: str

    def apply(self, root: Path) -> str:
        """Change the file below `root` and return its former text. Raises `ValueError` where it does not fit."""
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise ValueError(f"{self.name}: the text to change stands {text.count(self.before)} times in {self.file}")
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")
        return text


def read_mutations(table: Path = TABLE) -> list[Mutation]:
    return [Mutation(**entry) for entry in tomllib.loads(table.read_text(encoding="utf-8"))["mutation"]]


def passes(root: Path, tests: str) -> bool:
    """Whether all these tests pass in the copy at `root`. Raises `RuntimeError` where pytest found nothing to run."""
    environment = os.environ | {"PYTHONPATH": str(root), "QT_QPA_PLATFORM": "offscreen", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split()]
    finished = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode not in (0, 1):  # 2 to 5: interrupted, wrong usage, no tests
        if "error" in finished.stdout.lower() and finished.returncode == 2:
            return False  # the change broke an import
        raise RuntimeError(f"pytest {tests} ended with {finished.returncode}:\n{finished.stdout[-2000:]}")
    return finished.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description="See the tests fail, one wrong change at a time.")
    parser.add_argument("words", nargs="*", help="run only mutations whose name contains one of these")
    words = parser.parse_args().words
    chosen = [m for m in read_mutations() if not words or any(word in m.name for word in words)]
    sound: dict[str, bool] = {}
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, root / name)
        for mutation in chosen:
            if mutation.tests not in sound:
                sound[mutation.tests] = passes(root, mutation.tests)
            if not sound[mutation.tests]:
                outcome = "cannot tell: its tests fail without it"
            else:
                former = mutation.apply(root)
                outcome = "NOT CAUGHT" if passes(root, mutation.tests) else "caught"
                (root / mutation.file).write_text(former, encoding="utf-8")
            if outcome != "caught":
                missed.append(mutation.name)
            print(f"{outcome:12} {mutation.name}", flush=True)
    print(f"{len(chosen) - len(missed)} of {len(chosen)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
