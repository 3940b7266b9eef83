"""JSON-RPC 2.0, one JSON text a line: requests, notifications, answers and errors. Does no I/O.

Batches are refused: send one request a line.
"""

from __future__ import annotations

import enum
import typing
from typing import Any, Final

import msgspec

from clave_client import errors
from clave_client.errors import ClientError
from clave_client.formats.json_values import BadValue, dump, load

__all__ = [
    "MAX_REQUEST_BYTES",
    "ErrorCode",
    "LineSplitter",
    "Request",
    "RpcError",
    "dump_error",
    "encode_answer",
    "encode_error",
    "encode_request",
    "error_from",
    "parse_request",
]

MAX_REQUEST_BYTES: Final = 1024 * 1024
"""Most bytes of a request's line: a message of 64 KiB fits, whatever JSON makes of it."""


class ErrorCode(enum.IntEnum):
    """The codes of errors: those of JSON-RPC 2.0, and two of clave."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    FAILED = -32000
    CANCELLED = -32001


class RpcError(ClientError):
    """An error of the protocol itself, by its code."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        if code is ErrorCode.INVALID_PARAMS:
            self.exit_status = 2


class Request(msgspec.Struct, frozen=True):
    """A request; one without an `id` is a notification, which is not answered."""

    method: str
    jsonrpc: str = ""
    params: dict[str, Any] = {}
    id: str | int | None = None

    def __repr__(self) -> str:
        return f"<Request {self.id!r}>"


_decoder = msgspec.json.Decoder(Request)


def parse_request(line: bytes) -> Request:
    """Parse a line. Raises `RpcError`."""
    try:
        request = _decoder.decode(line)
    except msgspec.ValidationError as error:
        raise RpcError(ErrorCode.INVALID_REQUEST, f"this is no request: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RpcError(ErrorCode.PARSE_ERROR, f"this is no JSON: {error}") from None
    except RecursionError:
        raise RpcError(ErrorCode.PARSE_ERROR, "this JSON is nested too deeply") from None
    if request.jsonrpc != "2.0":
        raise RpcError(ErrorCode.INVALID_REQUEST, 'this is no request: "jsonrpc" is "2.0"')
    return request


def encode_request(method: str, params: dict[str, Any], id: str | int | None = None) -> bytes:  # noqa: A002 (JSON-RPC's name)
    """Return the line of a request, or without `id` of a notification."""
    call = {"jsonrpc": "2.0", "method": method, "params": params}
    return msgspec.json.encode(call if id is None else {**call, "id": id}) + b"\n"


def encode_answer(id: str | int, result: Any) -> bytes:  # noqa: A002 (JSON-RPC's name)
    """Return the line of an answer; `result` is JSON values."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "result": result}) + b"\n"


def encode_error(id: str | int | None, error: RpcError | ClientError) -> bytes:  # noqa: A002 (JSON-RPC's name)
    """Return the line of an error answer; for a `ClientError`, `data` has its kind and exit status."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "error": dump_error(error)}) + b"\n"


def dump_error(error: RpcError | ClientError) -> dict[str, Any]:
    """Return JSON-RPC's error object."""
    if isinstance(error, RpcError):
        return {"code": int(error.code), "message": str(error)}
    data = {"kind": type(error).__name__, "exit_status": error.exit_status}
    fields = {name: dump(value) for name, value in vars(error).items() if not name.startswith("_")}
    if fields:
        data["fields"] = fields
    return {"code": int(ErrorCode.FAILED), "message": str(error), "data": data}


def error_from(raw: Any) -> ClientError:
    """Return the error that an error object stands for: of its kind, with its attributes, if known."""
    found = raw if isinstance(raw, dict) else {}
    text = str(found.get("message", "the owner of the profile gave no reason"))
    data = found.get("data")
    if not isinstance(data, dict):
        codes = {int(code): code for code in ErrorCode}
        return RpcError(codes.get(found.get("code", 0), ErrorCode.INTERNAL_ERROR), text)
    kind = getattr(errors, str(data.get("kind")), ClientError)
    if not (isinstance(kind, type) and issubclass(kind, ClientError)):
        kind = ClientError
    error = kind.__new__(kind)
    error.args = (text,)
    hints = typing.get_type_hints(kind)
    for name, value in (data.get("fields") or {}).items():
        try:
            setattr(error, name, load(hints[name], value) if name in hints else value)
        except BadValue:
            return ClientError(text)
    return error


class LineSplitter:
    """Splits what is received into lines; of a line longer than `most` bytes nothing is kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the lines that `data` ends, without line ends; None for one that was too long."""
        first, *rest = data.split(b"\n")
        if len(self._begun) + len(first) > self._most:
            self._too_long = True
        self._begun += b"" if self._too_long else first
        lines: list[bytes | None] = []
        for piece in rest:
            lines.append(None if self._too_long else bytes(self._begun))
            self._too_long = len(piece) > self._most
            self._begun = bytearray(b"" if self._too_long else piece)
        if self._too_long:
            self._begun.clear()
        return lines
