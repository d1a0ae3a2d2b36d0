"""Run folders: made, written, read and listed with the standard library, and pydantic's reader of JSON."""

from studio.runs.files import sync_folder, write_atomically
from studio.runs.folder import UNDER_WAY, RunFolder, Status, create_run, find_runs, list_runs, open_run
from studio.runs.glance import Glance, glance_at
from studio.runs.journal import Journal, read_journal, without_lost
from studio.runs.label import RunLabel, read_label, write_label
from studio.runs.litter import draft_name, remove_drafts, remove_litter
from studio.runs.lock import Holder, holder_of, inherit_lock, may_come_again, read_lock, release_lock, take_lock
from studio.runs.read import read_base

__all__ = [
    "UNDER_WAY",
    "Glance",
    "Holder",
    "Journal",
    "RunFolder",
    "RunLabel",
    "Status",
    "create_run",
    "draft_name",
    "find_runs",
    "glance_at",
    "holder_of",
    "inherit_lock",
    "list_runs",
    "may_come_again",
    "open_run",
    "read_base",
    "read_journal",
    "read_label",
    "read_lock",
    "release_lock",
    "remove_drafts",
    "remove_litter",
    "sync_folder",
    "take_lock",
    "without_lost",
    "write_atomically",
    "write_label",
]
