"""Run the make targets on every supported Python, each in an environment of its own under .nox.

`nox -s checks tests` runs them on each of PYTHONS that is installed and skips the others. The Makefile says
what is installed and what is run. Knows no test.
"""

from __future__ import annotations

import nox

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The supported Python versions, those of .github/workflows/ci.yml."""

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = ["checks", "tests", "wheel"]


def _make(session: nox.Session, target: str) -> None:
    """Run a make target in the environment of the session, installing there first what the target needs."""
    folder = session.virtualenv.location
    session.run("make", "--no-print-directory", target.format(venv=folder), f"VENV={folder}", external=True)


@nox.session(python=PYTHONS)
def checks(session: nox.Session) -> None:
    """Check format, lint, types, import contracts and workflows: `make check`."""
    _make(session, "check")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; what follows `--` goes to pytest."""
    _make(session, "{venv}/.installed-dev")
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and print which branches of the packages they reach: `make coverage`."""
    _make(session, "coverage")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel and run the demo from it alone: `make wheel`."""
    _make(session, "wheel")
