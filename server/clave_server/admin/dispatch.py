"""Where an operator's order goes: to the relay that runs, or to the data folder of one that does not."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TypeVar

from clave_server.admin.control import ask
from clave_server.admin.requests import AdminRequest
from clave_server.errors import AdminError, DataDirInUse, NotRunning
from clave_server.net.tls import TlsFiles
from clave_server.storage.data_dir import CONTROL, DATABASE, DataDir
from clave_server.storage.schema import start_errors

__all__ = ["give"]

_T = TypeVar("_T")


def give(data: Path, order: AdminRequest[_T], own: TlsFiles | None = None) -> _T:
    """Have an order carried out for the data folder `data`, whose relay shows the certificate `own` if given.

    Raises `AdminError` or `StartError`.
    """
    try:
        return ask(data / CONTROL, order)
    except NotRunning:
        if not os.path.exists(data / DATABASE):  # noqa: PTH110  (False, too, where it cannot be looked up)
            raise AdminError(f"no relay has run on {data} yet; start it once, or name its --data") from None
    try:
        return _carry_out(data, order, own)
    except DataDirInUse:  # it started just now, or is on its way up or down
        return ask(data / CONTROL, order)


def _carry_out(data: Path, order: AdminRequest[_T], own: TlsFiles | None) -> _T:
    with DataDir(data) as folder, start_errors(folder.database):
        return order.carry_out_in(folder, own, time.time_ns() // 1_000_000)
