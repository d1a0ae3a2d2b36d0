"""The errors that reach a user. Each message is one sentence: what, where, and what to do about it.

Anything else that is raised is a defect of ours; its traceback goes to the log.
"""

from __future__ import annotations


class StudioError(Exception):
    """Base of all errors whose message is written for the user."""


class ConfigError(StudioError):
    """The configuration file, or one of its values, is wrong."""


class ConsentNeeded(ConfigError):
    """What a run was trained on has changed since its checkpoint; it goes on only where the user wants that."""


class ModelError(StudioError):
    """The model folder is missing, damaged, unsafe or not a causal language model."""


class DataError(StudioError):
    """A dataset cannot be read, or cannot teach anything."""


class TrainingError(StudioError):
    """Training cannot start or go on."""


class NotResumed(TrainingError):
    """A run could not be gone on with; it is as it was before."""


class NotReached(TrainingError):
    """The other processes of a run cannot be reached; perhaps they can when all are started again."""


class ExportError(StudioError):
    """An export could not be written."""


class RunFolderError(StudioError):
    """A run folder is missing, damaged or not writable."""


class Cancelled(StudioError):
    """The user cancelled; not a failure."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, CUDA's, or that of torch's allocator for processors."""
    return isinstance(error, MemoryError) or any(
        words in str(error).lower() for words in ("out of memory", "can't allocate")
    )
