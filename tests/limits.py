"""Something is done in a child process that is killed where it takes too long, or where it takes too much memory."""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable

from studio.errors import StudioError

SECONDS = 20
MEMORY = 1 << 30  # bytes that the child may take beside what it has


def ends(action: Callable[[], object], seconds: int = SECONDS) -> str:
    """Do something in a child process of bounded time and memory; return the sentence that it was refused with.

    Fails where it does not end, or ends with anything but a `StudioError`.
    """
    answer, told = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(answer)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
                size = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))
            try:
                action()
            except StudioError as error:
                os.write(told, str(error).encode("utf-8", "replace")[:4000])
            status = 0
        except BaseException:  # noqa: BLE001  whatever it is, the child ends here and the parent's test fails
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(status)
    os.close(told)
    with os.fdopen(answer, "rb") as file:
        sentence = file.read().decode()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "it does not end" if os.WIFSIGNALED(status) else "see its output"
    return sentence
