"""Keeping libraries from what they do unasked: words on the command line, downloads, and work that nobody needs."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NO_COMPILER = "TORCHDYNAMO_DISABLE"  # looked at by each call of `torch.compile`


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Switch transformers' progress bars off for a while."""
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            logging.enable_progress_bar()


def ignore_positions() -> None:
    """peft leaves out the positions that `generate` gives it for virtual tokens, as it must, and would say so."""
    warnings.filterwarnings("ignore", message="Position ids are not supported for parameter efficient tuning")


def import_bitsandbytes() -> Any:
    """Import bitsandbytes before peft does (every import of peft imports it too); None where it is not installed.

    Where there is a package `kernels`, the library would fetch program code from the hub while it is imported. It also
    has three functions compiled, for which torch loads its compiler: 550 modules, 1 to 3 seconds. GPUs of NVIDIA and
    processors have kernels of their own in their place.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        return None
    for name in ("backends.cpu.ops", "autograd._functions"):
        # They regret the missing kernels, and every conversion to fp16, at each product.
        logging.getLogger(f"bitsandbytes.{name}").setLevel(logging.ERROR)
    with _hidden("kernels"), _uncompiled():
        return importlib.import_module("bitsandbytes")


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Let an import of `package` fail for a while."""
    modules: dict[str, Any] = sys.modules
    present = modules.get(package)
    modules[package] = None
    try:
        yield
    finally:
        del modules[package]
        if present is not None:
            modules[package] = present


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Let `torch.compile` return each function as it is for a while."""
    before = os.environ.get(NO_COMPILER)
    os.environ[NO_COMPILER] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[NO_COMPILER]
        else:
            os.environ[NO_COMPILER] = before
