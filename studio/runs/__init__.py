"""Run folders: made, written, read and listed with the standard library alone."""

from studio.runs.folder import RunFolder, Status, create_run, list_runs, open_run, write_atomically
from studio.runs.journal import Journal, read_journal

__all__ = ["Journal", "RunFolder", "Status", "create_run", "list_runs", "open_run", "read_journal", "write_atomically"]
