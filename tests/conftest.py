"""What holds for every test: no display, no network, the user's folders left alone, no thread left behind."""

from __future__ import annotations

import gettext
import itertools
import os
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from studio import i18n

# Before anything imports Qt, torch or a hub client.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models: more threads are slower, and add up in another order
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"  # the user's own keyring is left alone
FOLDERS = {"FINETUNE_STUDIO_HOME": "home", "FINETUNE_STUDIO_CACHE": "cache"}
OUR_THREADS = ("training", "task-")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Reports go from process to process as UTF-8; a test of names that are not UTF-8 may log or print one."""
    report = yield
    report.sections = [(title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(scope="session", autouse=True)
def _no_file_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fixtures that outlive one test get folders of the session."""
    with pytest.MonkeyPatch.context() as patch:
        _set_folders(patch, tmp_path_factory.mktemp("session"))
        yield


@pytest.fixture(scope="session")
def _users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for each test in turn. To find the next free number, `mktemp` would read the names of all before it."""
    return map(tmp_path_factory.mktemp("users").joinpath, map(str, itertools.count()))


@pytest.fixture(autouse=True)
def _own_folders(_users: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own home and cache, outside its `tmp_path`."""
    user = next(_users)
    user.mkdir()
    _set_folders(monkeypatch, user)


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    yield
    i18n.set_language("en")


class _Marked(gettext.NullTranslations):
    """A catalogue that knows every text: whatever goes through `tr` or `trn` begins with 译."""

    @override
    def gettext(self, message: str) -> str:
        return f"译{message}"

    @override
    def ngettext(self, singular: str, plural: str, n: int) -> str:
        return f"译{super().ngettext(singular, plural, n)}"


@pytest.fixture
def marked_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `set_language("zh_CN")` mark all that is translated."""

    def translation(*_: object, languages: list[str], **__: object) -> gettext.NullTranslations:
        return _Marked() if languages == ["zh_CN"] else gettext.NullTranslations()

    monkeypatch.setattr(gettext, "translation", translation)


@pytest.fixture(autouse=True)
def _no_thread_left_behind() -> Iterator[None]:
    """A worker that outlives its test would outlive the window; exiting then aborts the process."""
    before = set(threading.enumerate())
    yield
    started = [thread for thread in threading.enumerate() if thread not in before and _counts(thread)]
    for thread in started:
        thread.join(timeout=5)
    left = [thread.name for thread in started if thread.is_alive()]
    if left:
        pytest.fail(f"threads left behind: {', '.join(left)}")


def _set_folders(patch: pytest.MonkeyPatch, folder: Path) -> None:
    for variable, name in FOLDERS.items():
        patch.setenv(variable, str(folder / name))


def _counts(thread: threading.Thread) -> bool:
    return not thread.daemon or thread.name.startswith(OUR_THREADS)
