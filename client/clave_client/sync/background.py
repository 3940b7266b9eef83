"""Tasks that run beside the rooms; their errors become notices. Knows no rooms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator

from clave_client.errors import ClientError, RelayRefused, RelayUnreachable
from clave_client.events import Notice
from clave_crypto.mls import MLSError
from clave_wire.messages import Code
from clave_wire.text import sanitize

__all__ = ["BackgroundTasks"]


class BackgroundTasks:
    """The running tasks of one profile; iterate over them, or end them with `cancel`."""

    def __init__(self, emit: Callable[[Notice], None]) -> None:
        self._emit = emit
        self._tasks: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[asyncio.Task[None]]:
        return iter(tuple(self._tasks))

    def spawn(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run `work` as a task; its errors are reported as notices, a lost connection is not."""
        task = asyncio.create_task(self._run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel(self) -> None:
        """Cancel all tasks and wait for their end."""
        for task in self:
            task.cancel()
        await asyncio.gather(*self, return_exceptions=True)

    async def _run(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            await work()
        except RelayUnreachable:
            pass
        except ClientError as error:
            if not (isinstance(error, RelayRefused) and error.code is Code.SHUTDOWN):  # told as the loss
                self._emit(Notice(b"", str(error)))
        except MLSError as error:
            self._emit(Notice(b"", sanitize(str(error))))
