"""Which file system a folder is on, and whether a database can be kept there. Opens no file of a profile."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["network_file_system"]

_NETWORK: Final = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "afs",
    "ceph",
    "fuse.sshfs",
    "glusterfs",
    "fuse.glusterfs",
}
"""Kinds whose locks and shared memory do not hold between machines, so that a database is damaged there."""

_MOUNTS: Final = Path("/proc/self/mountinfo")


def network_file_system(folder: Path, mounts: Path = _MOUNTS) -> str | None:
    """Return the kind of the network file system that `folder` is on, None if it is on none or not known.

    `mounts` lists what is mounted, as proc_pid_mountinfo(5) has it; other systems have no such file.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    best, kind = -1, ""
    folder = folder.resolve()
    for line in lines:
        fields, _, rest = line.partition(" - ")
        columns = fields.split()
        if len(columns) < 5 or not rest:
            continue
        place = Path(columns[4].replace("\\040", " "))
        if folder.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), rest.split()[0]
    return kind if kind in _NETWORK else None
