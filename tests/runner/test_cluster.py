"""The commands for several GPUs are right for a shell, and carry the whole configuration."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path, PureWindowsPath

import pytest

from studio.config import RunConfig, parse_config, read_config
from studio.runner.cluster import ClusterSize, cluster_commands

ODD = "/data/o'brien $(touch pwned) `id`/rows.jsonl"


@pytest.fixture
def config() -> RunConfig:
    sources = [{"path": ODD}]
    return parse_config({"model": {"path": "/models/My Model; rm"}, "data": {"sources": sources}})


def test_the_torchrun_line_keeps_odd_paths_whole(config: RunConfig) -> None:
    size = ClusterSize(gpus=2)
    commands = cluster_commands(config, size, file=Path("/c/my run.toml"), runs_root=Path("/r/a'b"))
    words = shlex.split(commands.torchrun)
    assert words[words.index("train") + 1] == "/c/my run.toml"
    assert words[words.index("--runs") + 1] == "/r/a'b"


def test_on_windows_the_torchrun_line_is_for_its_shell(config: RunConfig) -> None:
    file, runs = PureWindowsPath(r"C:\my runs\it's.toml"), PureWindowsPath(r"C:\$runs\a'b")
    size = ClusterSize(gpus=2)
    commands = cluster_commands(config, size, file=file, runs_root=runs, system="win32")  # type: ignore[arg-type]
    assert commands.torchrun.endswith(r"""train "C:\my runs\it's.toml" --runs 'C:\$runs\a''b'""")


def test_the_script_writes_the_configuration_and_starts_it_on_every_node(config: RunConfig, tmp_path: Path) -> None:
    """Run by a real shell, with stand-ins for what a cluster has."""
    commands = cluster_commands(
        config, ClusterSize(nodes=2, gpus=4), file=Path("x"), runs_root=Path("/shared/runs of me")
    )
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, body in (("scontrol", "seq -f node%.0f 100000"), ("srun", 'printf "%s\\n" "$@"')):
        (tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (tools / name).chmod(0o755)
    environment = {
        "PATH": f"{tools}:/usr/bin:/bin", "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_NAME": "job",
        "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-2]",
    }  # fmt: skip
    done = subprocess.run(
        ["bash"], input=commands.slurm, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    words = done.stdout.splitlines()
    assert words[:3] == ["torchrun", "--nnodes=2", "--nproc-per-node=4"]
    assert "--rdzv-endpoint=node1:29500" in words
    assert words[-4:] == ["train", str(tmp_path / "job-7.toml"), "--runs", "/shared/runs of me"]
    assert read_config(tmp_path / "job-7.toml") == config
    assert not (tmp_path / "pwned").exists()
