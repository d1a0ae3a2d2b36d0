"""A configuration as commands for more than one GPU: a `torchrun` line, and a batch script for Slurm."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from studio.config import RunConfig, Section, option, write_config
from studio.i18n import gettext_noop
from studio.runner.command_line import quoted_for_windows

PORT = 29500  # where the processes of several nodes find each other: torchrun's own default
SECONDS_TO_SAVE = 300


class ClusterSize(Section):
    """How much of a cluster a run asks for."""

    nodes: int = option(1, "Computers", "Each is one node of the cluster.", ge=1, le=10_000)
    gpus: int = option(1, "GPUs in each", "One process is started for each of them.", ge=1, le=64)
    hours: int = option(
        24,
        "Time",
        "Slurm ends the job after it. Five minutes before, the run is asked to stop, and saves what it has learnt.",
        unit=gettext_noop("hours"),
        ge=1,
        le=1000,
    )


@dataclass(frozen=True, kw_only=True)
class ClusterCommands:
    """`torchrun` starts the run on one computer; `slurm` is a whole batch script, with the configuration in it."""

    torchrun: str
    slurm: str


def cluster_commands(
    config: RunConfig, size: ClusterSize, *, file: Path, runs_root: Path, system: str = sys.platform
) -> ClusterCommands:
    """Return the commands that train with a configuration on more than one GPU.

    Args:
        file: where the configuration is saved, for the torchrun line. The batch script carries it.
        runs_root: the folder that the run folder is made in. All nodes must see it.
        system: on "win32" the torchrun line is for PowerShell, elsewhere for a POSIX shell, as the script always is.
    """
    quoted = quoted_for_windows if system == "win32" else shlex.quote
    train = f"-m studio train {quoted(str(file))} --runs {quoted(str(runs_root))}"
    line = f"torchrun --standalone --nproc-per-node={size.gpus} --max-restarts=3 {train}"
    return ClusterCommands(torchrun=line, slurm=_slurm(config, size, shlex.quote(str(runs_root))))


def _slurm(config: RunConfig, size: ClusterSize, runs: str) -> str:
    text = write_config(config)
    end = "END_OF_CONFIGURATION"
    while end in text:
        end += "_"
    name = re.sub(r"[^a-z0-9]+", "-", f"{Path(config.model.path).name}-{config.method.name}".lower()).strip("-")[:40]
    return f"""#!/bin/bash
#SBATCH --job-name={name or "fine-tuning"}
#SBATCH --nodes={size.nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node={size.gpus}
#SBATCH --cpus-per-task={4 * size.gpus}
#SBATCH --time={size.hours}:00:00
#SBATCH --output=%x-%j.log
#SBATCH --signal=TERM@{SECONDS_TO_SAVE}
# {SECONDS_TO_SAVE // 60} minutes before the time is over, the run is asked to stop,
# and saves what it has learnt. Every node must see the paths that are named here.
set -euo pipefail

config="$SLURM_SUBMIT_DIR/$SLURM_JOB_NAME-$SLURM_JOB_ID.toml"
cat > "$config" <<'{end}'
{text.rstrip()}
{end}

# sed reads all the names. head would close the pipe, and scontrol would end with an error.
first_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
srun torchrun \\
    --nnodes={size.nodes} --nproc-per-node={size.gpus} --max-restarts=3 \\
    --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$first_node:{PORT}" \\
    -m studio train "$config" --runs {runs}
"""
