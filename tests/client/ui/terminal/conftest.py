"""A shell on a pseudo-terminal, for what is suspended and continued."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from client.ui.terminal.window import CHILD, Window, window


@pytest.fixture
def shell() -> Iterator[Window]:
    """A window with a shell, in which the program runs as a job."""
    with window("/bin/sh", "-i", prompted=False, PS1="$ ", ENV="") as shown:
        shown.ends_with("$")
        shown.press(f"{sys.executable} {CHILD}\r")
        shown.prompts()
        yield shown
