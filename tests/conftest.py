"""What holds for every test: processes started by a test can be interrupted, and start quickly."""

from __future__ import annotations

import os
import signal
from pathlib import Path

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs, as in `nohup make test &`, with SIGINT ignored. Child processes inherit
    # that, and no SIGINT sent by a test would reach them. A handler set here is not inherited: children start
    # with the default action, as from a foreground shell.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Processes find their modules compiled, as those of an installed program do, wherever Python may write.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).parent.parent / "build" / "compiled"))
