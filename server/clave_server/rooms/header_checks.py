"""Checks of the header of a handshake, an entry other than an application message. Knows no room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from clave_server.errors import Refusal
from clave_wire.errors import RemoteError
from clave_wire.header import Header, digest_names, split_payload
from clave_wire.messages import Code, Kind, Submit

__all__ = ["check_header", "check_names", "read_header"]

_ADDING: Final = frozenset({Kind.COMMIT, Kind.GROUP_INFO})
"""Kinds whose header may add devices and that may carry a welcome."""

_REMOVING: Final = frozenset({Kind.PROPOSAL, Kind.REKEY})
"""Kinds whose header may remove devices."""


def read_header(submit: Submit) -> Header:
    """Return the header of a payload. Raises `Refusal` if it is missing, malformed or of another kind."""
    try:
        header, _, _ = split_payload(submit.payload)
    except RemoteError as error:
        raise Refusal(Code.BAD_REQUEST, str(error)) from None
    if header.kind != submit.kind:
        raise Refusal(Code.BAD_REQUEST, "the payload's header is of another kind")
    return header


def check_names(header: Header, names: Mapping[bytes, str]) -> None:
    """Raise `Refusal` unless the header's `ref` names the devices' accounts as they are registered here.

    Otherwise one account could appear as several members, and confirm its own rekey.
    """
    if header.ref != digest_names((device, names[device]) for device in header.add):
        raise Refusal(Code.BAD_REQUEST, "a device to add belongs to another account here")


def check_header(device: bytes, submit: Submit, header: Header) -> None:
    """Raise `Refusal` unless a submission of `device` adds and removes only what its kind may."""
    kind = submit.kind
    if (header.add or submit.welcome) and kind not in _ADDING:
        raise Refusal(Code.BAD_REQUEST, "only a commit adds devices or carries a welcome")
    if header.remove and kind not in _REMOVING:
        raise Refusal(Code.BAD_REQUEST, "only a rekey removes devices")
    if kind is Kind.PROPOSAL and header.remove != [device]:
        raise Refusal(Code.BAD_REQUEST, "a proposal removes its own sender, nobody else")
    if kind is Kind.GROUP_INFO and len(header.add) != 1:
        raise Refusal(Code.BAD_REQUEST, "a group info is for one device")
