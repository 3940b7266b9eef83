"""The load generator in `load/`: built with the system's C compiler, run, its lines read. Knows no server."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Generator", "LoadError"]

_SOURCES = Path(__file__).parent / "load"
_FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra"]
_LIBRARIES = ["-lssl", "-lcrypto"]


class LoadError(Exception):
    """The load generator cannot be built, or gave up; the text says why in one line."""


class Generator:
    """The built program."""

    def __init__(self, program: Path) -> None:
        self._program = program

    @classmethod
    def build(cls, folder: Path) -> Generator:
        """Compile into `folder`. Raises `LoadError` that says what is missing."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise LoadError("the load generator needs a C compiler; on Debian: apt install gcc libc6-dev")
        program = folder / "load"
        sources = sorted(map(str, _SOURCES.glob("*.c")))
        built = subprocess.run(  # noqa: S603 - our own sources
            [compiler, *_FLAGS, "-o", str(program), *sources, *_LIBRARIES],
            check=False,
            capture_output=True,
            text=True,
        )
        if built.returncode:
            if "openssl/" in built.stderr or "-lssl" in built.stderr:
                raise LoadError(
                    "the load generator needs OpenSSL's headers; on Debian: apt install libssl-dev"
                )
            raise LoadError(f"the load generator does not compile:\n{built.stderr}")
        return cls(program)

    def run(self, options: Sequence[str], phases: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Drive a server; return what was measured in connecting and in each phase. Raises `LoadError`."""
        done = subprocess.run(  # noqa: S603 - our own program
            [self._program, *options, *phases], check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise LoadError(done.stderr.strip() or f"the load generator ended with {done.returncode}")
        return [json.loads(line) for line in done.stdout.splitlines()]
