"""Runs a command to its end, and turns how it ended into an exit status."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Final, NoReturn

import click

from clave_client.cli.defects import watch_loop
from clave_client.errors import ClientError

__all__ = ["EXIT_STATUSES", "exits", "report", "run"]

EXIT_STATUSES: Final = {
    0: "done",
    1: "something else failed",
    2: "wrong arguments, or not possible now",
    3: "the profile: held by a stopped process, exposed, damaged, wrong passphrase",
    4: "the relay: not reachable, not the pinned one, or it refused",
    5: "the message waits in the outbox and goes out later",
    6: "this device is no longer in the room",
    70: "a mistake in clave itself; a report of it is in the profile's folder",
    130: "interrupted by Ctrl-C (SIGTERM: 143, SIGHUP: 129)",
}
"""The exit statuses of `clave`, in --help and the documentation."""


_COLLECT_AFTER: Final = 50_000
"""Objects made, and not freed, between two runs of the garbage collector."""


_MOST_ENDING_SECONDS: Final = 15.0
"""How long a program that was told to end may take; then it ends at once, as if it were killed."""


class _Signalled(Exception):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def run(work: Callable[[], Coroutine[None, None, int | None]]) -> None:
    """Run `work` to its end, and exit with the status it returns; SIGTERM and SIGHUP end it in order."""
    import asyncio

    # A start makes many objects that stay: the collector would look through them again and again.
    gc.set_threshold(_COLLECT_AFTER)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 (stands in for a closed stdin until exit)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 (the same)
    with exits():
        sys.exit(asyncio.run(_until_signalled(work)) or 0)


@contextlib.contextmanager
def exits() -> Iterator[None]:
    """Exit in order, whatever is raised but a defect.

    A `ClientError` prints one line and exits with its status, a closed pipe exits with 0.
    """
    try:
        yield
    except ClientError as error:
        report(error)
    except (KeyboardInterrupt, click.Abort):  # the second at a question
        sys.exit(128 + signal.SIGINT)
    except _Signalled as ended:
        sys.exit(128 + ended.number)
    except OSError as error:
        if error.errno == errno.EPIPE:  # who closed the pipe knows
            _abandon_stdout()
            sys.exit(0)
        click.echo(f"clave: {error.strerror or error}; nothing more could be read or written", err=True)
        _abandon_stdout()
        sys.exit(1)


def report(error: ClientError) -> NoReturn:
    """Print an error's line and exit with its status."""
    from clave_client.ui.hints import error_text
    from clave_client.ui.warnings import print_warning
    from clave_wire.text import sanitize

    print_warning(sanitize(error_text(error)))
    sys.exit(error.exit_status)


def _abandon_stdout() -> None:
    """Keep the interpreter from flushing into a closed pipe at exit."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _until_signalled(work: Callable[[], Coroutine[None, None, int | None]]) -> int | None:
    """Run `work`; SIGTERM and SIGHUP cancel it, so that it closes what it has opened."""
    import asyncio

    loop = asyncio.get_running_loop()
    watch_loop(loop)
    task = asyncio.ensure_future(work())
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        task.cancel()
        # A terminal that is gone must not leave a process behind that holds the profile.
        last = threading.Timer(_MOST_ENDING_SECONDS, os._exit, (128 + number,))
        last.daemon = True
        last.start()

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as by nohup
            loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        raise _Signalled(received[0]) from None
