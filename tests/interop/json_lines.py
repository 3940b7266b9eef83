"""A process that answers requests, each a line of JSON, by a line of JSON. Knows no MLS."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from interop.peer import Refused

__all__ = ["JsonLines"]


class JsonLines:
    """The process, started by the first request. Its standard error is this process's."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def ask(self, operation: str, **fields: object) -> dict[str, Any]:
        """Send a request and return the reply.

        Raises:
            Refused: the reply says that the library refused it.
            RuntimeError: the process failed or has ended.

        """
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": operation, **fields}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._command[0]} ended with exit status {self._process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        if reply["ok"]:
            return reply
        if reply["refused"]:
            raise Refused(reply["error"])
        raise RuntimeError(reply["error"])

    def close(self) -> None:
        """Close its input, at which it ends."""
        if self._process is not None:
            self._process.communicate()
            self._process = None
