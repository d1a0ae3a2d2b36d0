"""What the meters of a run cost: processor time of their thread, as a share of one core.

    python tests/benchmarks/meters.py [--looks 2000]

Asks the computer, and an NVIDIA GPU where there is one, as often as given, and divides the processor time of a look by
the seconds between two. Target: below 0.5 % of a core.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = 0.005


def main() -> None:
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--looks", type=int, default=2000)
    looks = parser.parse_args().looks

    import torch

    from studio.runner.meters.computer import ComputerMeters
    from studio.runner.meters.gpu import meters_of
    from studio.runner.meters.sampler import PERIOD

    gpu = meters_of("cuda:0") if torch.cuda.is_available() else None
    for name, meters in (("computer", ComputerMeters()), ("GPU", gpu)):
        if meters is None:
            print(f"{name}: none here")
            continue
        before = time.process_time()
        for _ in range(looks):
            meters.read()
        seconds = (time.process_time() - before) / looks
        share = seconds / PERIOD
        verdict = "below" if share < TARGET else "ABOVE"
        print(f"{name}: {1e6 * seconds:.0f} µs a look, {share:.4%} of a core, {verdict} {TARGET:.1%}")
        meters.close()


if __name__ == "__main__":
    main()
