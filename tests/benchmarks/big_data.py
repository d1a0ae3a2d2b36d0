"""A large dataset: how long it is inspected and tokenised, in how much memory, and how fast its X-ray opens.

    python tests/benchmarks/big_data.py [--mb 1024] [--tokenise-mb 100] [--rows 200000] [--model DIR]

Writes conversations of random words as JSON Lines, some 1.3 KB a row. Each figure comes from a process of its own:
- the inspection that the Data card makes, beside an offscreen window whose timer ticks every 10 ms: time, peak resident
  memory beyond that of the libraries, in this process and in the largest of its children, and the longest wait for a
  tick;
- tokenising `--tokenise-mb` of it with one process and with one for each core;
- the X-ray of `--rows` short rows that are in the cache: opening, the last page, the longest rows, a search.

0 leaves a part out. Needs the starter model, for its tokenizer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MB = 2**20
TICK = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1024, help="of the file that is inspected")
    parser.add_argument("--tokenise-mb", type=int, default=100, help="of the file that is tokenised")
    parser.add_argument("--rows", type=int, default=200_000, help="of the X-ray")
    parser.add_argument("--model", default="", help="default: the starter model")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(PARTS[given.part](given)))
        return
    sys.path.insert(0, str(ROOT))
    given.model = given.model or _starter()
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        cores = len(os.sched_getaffinity(0))
        if given.mb:
            _write(rows, _conversations(), given.mb * MB)
            print(f"inspect {given.mb} MB: {_measured('inspect', given, rows)}", flush=True)
        if given.tokenise_mb:
            _write(rows, _conversations(), given.tokenise_mb * MB)
            for processes in (1, cores):
                found = _measured("tokenise", given, rows, processes)
                speed = f"{given.tokenise_mb / found['seconds']:.2f} MB/s"
                print(f"tokenise {given.tokenise_mb} MB on {processes} of {cores} cores: {found}, {speed}", flush=True)
        if given.rows:
            _write(rows, _questions(given.rows))
            print(f"fill the cache, {given.rows:,} rows: {_measured('tokenise', given, rows, cores)}", flush=True)
            print(f"X-ray: {_measured('xray', given, rows)}", flush=True)


def _starter() -> str:
    from studio.runner.actions import starter_folder

    folder = starter_folder()
    if folder is None:
        sys.exit("Fetch the starter model first: finetune-studio starter")
    return str(folder)


def _conversations() -> Iterator[dict[str, Any]]:
    chance = random.Random(1)
    words = (ROOT / "LICENSE").read_text("utf-8").split()
    while True:
        asked, answered = (" ".join(chance.choices(words, k=chance.randint(*k))) for k in ((10, 60), (40, 300)))
        yield {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]}


def _questions(count: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(2)
    words = (ROOT / "LICENSE").read_text("utf-8").split()
    for number in range(count):
        asked, answered = (" ".join(chance.choices(words, k=chance.randint(5, 20))) for _ in range(2))
        yield {"prompt": asked, "completion": f"{answered} {number}"}


def _write(path: Path, rows: Iterator[dict[str, Any]], size: float = float("inf")) -> None:
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            written += file.write(json.dumps(row) + "\n")
            if written >= size:
                return


def _measured(part: str, given: argparse.Namespace, file: Path, processes: int = 0) -> dict[str, Any]:
    command = [sys.executable, __file__, "--part", part, "--file", str(file), "--model", given.model]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen"}
    environment |= {"FINETUNE_STUDIO_HOME": str(file.parent), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    command += ["--processes", str(processes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _inspect(given: argparse.Namespace) -> dict[str, Any]:
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication

    from studio.config import DataSource
    from studio.engine.data.inspect import inspect_data
    from studio.engine.models.load import load_tokenizer

    tokenizer = load_tokenizer(Path(given.model))
    application = QApplication([])
    before, begun = _peak_mb(), time.perf_counter()
    found: list[Any] = []
    work = threading.Thread(target=lambda: found.append(inspect_data(DataSource(path=given.file), tokenizer, "chat")))
    waits: list[float] = [begun]

    def tick() -> None:
        waits.append(time.perf_counter())
        if not work.is_alive():
            application.quit()

    timer = QTimer(interval=int(TICK * 1000))
    timer.timeout.connect(tick)
    timer.start()
    work.start()
    application.exec()
    late = sorted(1000 * (after - one) for one, after in pairwise(waits))
    return {
        "rows": found[0].rows,
        "seconds": round(time.perf_counter() - begun, 1),
        "peak_mb_beyond_libraries": round(_peak_mb() - before),
        "peak_mb_of_a_child": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
        "longest_wait_ms": round(late[-1]),
        "wait_ms_of_99_in_100": round(late[len(late) * 99 // 100]),
    }


def _tokenise(given: argparse.Namespace) -> dict[str, Any]:
    from studio.config import DataSource
    from studio.engine.control import no_progress
    from studio.engine.data import cache, tokenise, workers
    from studio.engine.data.render import Renderer
    from studio.engine.models.load import load_tokenizer

    renderer = Renderer(load_tokenizer(Path(given.model)), "chat")
    before, begun = _peak_mb(), time.perf_counter()
    if given.processes == 1:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        workers.WORTHWHILE = 2**63
        cache.VARIABLE = "CACHE_OF_ONE_CORE"
        os.environ[cache.VARIABLE] = str(Path(given.file).parent / "one")
    rows = tokenise.tokenise(DataSource(path=given.file), renderer, no_progress).rows
    seconds = time.perf_counter() - begun
    return {
        "rows": len(rows), "seconds": round(seconds, 1), "peak_mb_beyond_libraries": round(_peak_mb() - before)
    }  # fmt: skip


def _xray(given: argparse.Namespace) -> dict[str, Any]:
    from studio.config import DataSource
    from studio.engine.data.xray import open_xray
    from studio.engine.models.load import load_tokenizer

    tokenizer = load_tokenizer(Path(given.model))
    seconds: dict[str, Any] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        done = work()
        seconds[name] = round(time.perf_counter() - begun, 3)
        return done

    xray = timed("open", lambda: open_xray(DataSource(path=given.file), tokenizer, "chat"))
    timed("lengths", lambda: (xray.histogram(), xray.suggestion(8192)))
    timed("last_page", lambda: xray.page(xray.all()[-10:]))
    timed("longest", lambda: xray.page(xray.longest()[:10]))
    found: list[int] = []
    timed("search", lambda: xray.search(str(len(xray.numbers) - 1), found))
    return seconds | {"rows": xray.rows, "found": len(found)}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


PARTS = {"inspect": _inspect, "tokenise": _tokenise, "xray": _xray}

if __name__ == "__main__":
    main()
