"""The memory of a joined group, in a process that does nothing else. Knows only Linux."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.mls.sides import OurMember, Ours, Theirs
from clave_crypto.mls import KeyPackageBundle

__all__ = ["joined_group"]


def joined_group(size: int) -> tuple[float, float, float]:
    """Join a group of `size` in a fresh process; return MiB held after and at most, and the seconds."""
    founder, joiner = Theirs(), Ours()
    clients = [Theirs() for _ in range(size - 2)]
    _, welcome = founder.create().add_all([*(client.offer() for client in clients), joiner.offer()])
    (bundle,) = joiner.bundles.values()
    with TemporaryDirectory() as folder:
        (Path(folder) / "bundle").write_bytes(bundle.encode())
        (Path(folder) / "welcome").write_bytes(welcome)
        command = [sys.executable, "-m", "bench.mls.memory", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    held, most, seconds = map(float, done.stdout.split())
    return held, most, seconds


def _join(folder: Path) -> tuple[float, float, float]:
    joiner = Ours()
    bundle = KeyPackageBundle.decode((folder / "bundle").read_bytes())
    joiner.bundles[bundle.reference] = bundle
    welcome = (folder / "welcome").read_bytes()
    before = _resident("VmRSS")
    begin = time.perf_counter()
    member: OurMember = joiner.join(welcome)
    seconds = time.perf_counter() - begin
    gc.collect()
    after = _resident("VmRSS")
    assert member.group.epoch == 1  # noqa: S101 - the group is still held
    return after - before, _resident("VmHWM") - before, seconds


def _resident(name: str) -> float:
    """Return one of this process's own figures, in MiB."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    print(*_join(Path(sys.argv[1])))
