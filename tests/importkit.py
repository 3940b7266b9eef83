"""Which modules a piece of a program imports, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

SLOW_STANDARD_MODULES = frozenset(
    {
        "asyncio",
        "concurrent",
        "email",
        "hashlib",
        "http",
        "json",
        "logging",
        "multiprocessing",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "tomllib",
        "unittest",
    }
)
"""Modules of the standard library that no `--help` needs."""


def imported_by(script: str) -> set[str]:
    """Return what a script imports: modules of this project by their full name, others by their package.

    Of the standard library only `SLOW_STANDARD_MODULES` count.
    """
    script += "\nimport sys; print(); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found = set()
    for name in ran.stdout.splitlines()[-1].split():
        package = name.partition(".")[0]
        if package in SLOW_STANDARD_MODULES or package not in sys.stdlib_module_names:
            found.add(name if package.startswith("clave") else package)
    return found - _imported_by_nothing()


def _imported_by_nothing() -> set[str]:
    """Return what the interpreter imports by itself, as for editable installations."""
    ran = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in ran.stdout.split()}
