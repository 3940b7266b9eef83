"""`clave-relay` commands run as an operator runs them, and what they said."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

from clave_server.net.tls import open_tls
from clave_server.storage import schema
from clave_server.storage.data_dir import DataDir

_LIMITED = (
    "import os, resource, sys; _, kind, most, *words = sys.argv;"
    "resource.setrlimit(getattr(resource, kind), (int(most), int(most)));"
    "os.execv(sys.executable, [sys.executable, *words])"
)


def limited(kind: str, most: int, *words: str) -> list[str]:
    """Return the command that runs Python with `words` and a limit, e.g. of "RLIMIT_NOFILE"."""
    return [sys.executable, "-c", _LIMITED, kind, str(most), *words]


def run(
    data: Path, *arguments: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clave_server", *map(str, arguments)]
    if arguments[-1] != "--help":
        command += ["--data", str(data)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CLAVE_RELAY_")}
    return subprocess.run(
        command, env={**clean, **(environment or {})}, capture_output=True, text=True, timeout=60, check=False
    )


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    for word in words:
        assert word in line


async def said(data: Path, *arguments: str | Path) -> str:
    """Return what a command that succeeds says on standard output."""
    result = await asyncio.to_thread(run, data, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def make_folder(data: Path) -> None:
    with DataDir(data) as folder:
        schema.connect_writer(folder.database).close()
        open_tls(folder.certificate, dt.datetime.now(dt.UTC))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
