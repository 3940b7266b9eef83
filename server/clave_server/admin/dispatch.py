"""Sends an operator's request to the running relay, or executes it on the data folder of a stopped one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from clave_host.clock import now_ms
from clave_server.admin.control_socket import send_request
from clave_server.admin.requests import AdminRequest
from clave_server.errors import AdminError, DataDirInUse, NotRunning
from clave_server.net.tls import TlsFiles
from clave_server.storage.data_dir import CONTROL, DATABASE, DataDir
from clave_server.storage.schema import start_errors

__all__ = ["dispatch"]

_T = TypeVar("_T")


def dispatch(data: Path, request: AdminRequest[_T], own: TlsFiles | None = None) -> _T:
    """Carry out a request for the data folder `data`; `own` is the operator's certificate, if given.

    Raises `AdminError` or `StartError`.
    """
    try:
        return send_request(data / CONTROL, request)
    except NotRunning:
        if not os.path.exists(data / DATABASE):  # noqa: PTH110  (False also where it cannot be looked up)
            raise AdminError(f"no relay has run on {data} yet; start it once, or name its --data") from None
    try:
        return _execute(data, request, own)
    except DataDirInUse:  # it has just started, or is starting or stopping
        return send_request(data / CONTROL, request)


def _execute(data: Path, request: AdminRequest[_T], own: TlsFiles | None) -> _T:
    with DataDir(data) as folder, start_errors(folder.database):
        return request.execute_in(folder, own, now_ms())
