"""The process that writes: nine members of a room of ten, whose messages the tenth receives while measured.

Run as `python -m bench.tui.talking HOME PORT`. It makes the room and prints its id, then reads counts, a line
each: it writes so many messages, 500 a second, and prints a line when the relay has accepted them.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.client.backlog import Writers
from bench.client.population import Relay

__all__ = ["NAME", "RATE", "Talk", "live_marker", "talking"]

NAME: Final = "live"
"""The receiver's profile, and the title of its room."""

RATE: Final = 500
"""Messages a second."""


def live_marker(number: int) -> str:
    """Return the word that message `number` begins with."""
    return f"n{number:07}"


def _text(number: int) -> str:
    return f"{live_marker(number)} a line of about the length that people write to each other here"


class Talk:
    """The process, seen from the one that measures."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.room = bytes.fromhex(self._line())
        self.written = 0

    def begin(self, count: int) -> None:
        """Have it write so many messages from now on."""
        assert self._process.stdin is not None  # noqa: S101 (it is a pipe)
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        self.written += count

    def finish(self) -> None:
        """Wait until they are accepted."""
        self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 (it is a pipe)
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("the process that writes has ended")
        return line


@contextlib.contextmanager
def talking(home: Path, port: int) -> Iterator[Talk]:
    """Run the process."""
    process = subprocess.Popen(  # noqa: S603 (this very interpreter)
        [sys.executable, "-m", "bench.tui.talking", str(home), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Talk(process)
    finally:
        process.kill()
        process.communicate()


async def _main(home: Path, port: int) -> None:
    backlog, writers = await Writers.make(home, Relay(home, port), NAME, 0, _text)
    print(backlog.room.hex(), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        await writers.write_evenly(int(line), RATE)
        print("written", flush=True)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
