"""What several devices of one account ask of the relay: pairing, passing on, removal. Knows no SQL.

Pairings and what is passed on are in memory only.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

import apsw
import structlog

from clave_crypto.errors import CryptoError
from clave_crypto.identity import verify_revocation, verify_signature
from clave_server.accounts import revocations
from clave_server.errors import Refusal, ServerError
from clave_server.relay.context import RelayContext
from clave_server.rooms.invitations import delete_invitations_of
from clave_server.rooms.session import Session
from clave_wire.messages import Code, Login, OpenPairing, Passed, PassOn, RemoveDevice

__all__ = ["PAIRING_SECONDS", "close_pairing", "find_host", "open_pairing", "pass_on", "remove_device"]

PAIRING_SECONDS: Final = 300.0
"""How long a device can log in to be paired."""

_log = structlog.get_logger()


def pass_on(context: RelayContext, session: Session, request: PassOn) -> None:
    """Send what a device passes on to another one of its account. Raises `Refusal`."""
    other = context.sessions.get(request.device)
    if (
        other is None
        or other.over
        or not other.has_devices
        or other.usage.account != session.usage.account
        or session.host not in (b"", other.device)
        or other.host not in (b"", session.device)
    ):
        raise Refusal(Code.BAD_REQUEST, "that device is not connected")
    other.send(Passed(session.device, request.data))


def open_pairing(
    context: RelayContext, session: Session, request: OpenPairing, done: Callable[[ServerError | None], None]
) -> None:
    """Let a device log in by a key, to be paired by the device of `session`; in place of an earlier one."""
    close_pairing(context, session)
    if not request.key:
        done(None)
        return
    if len(request.key) != 32 or request.key in context.sessions or request.key in context.pairings:
        done(Refusal(Code.BAD_REQUEST, "a pairing takes a new key of 32 bytes"))
        return

    def opened(outcome: ServerError | None) -> None:
        if not isinstance(outcome, ServerError) and not session.over:
            close_pairing(context, session)
            session.pairing = request.key
            context.pairings[request.key] = session
            asyncio.get_running_loop().call_later(PAIRING_SECONDS, _expire, context, session, request.key)
        done(outcome)

    context.reader.submit(partial(revocations.check_space, account=session.usage.account), opened)


def _expire(context: RelayContext, session: Session, key: bytes) -> None:
    if session.pairing == key:
        close_pairing(context, session)


def close_pairing(context: RelayContext, session: Session) -> None:
    """End the pairing that a device has opened, and the connection of who came to it."""
    key, session.pairing = session.pairing, b""
    if key and context.pairings.pop(key, None) is not None and key in context.sessions:
        context.sessions[key].close(Code.TIMEOUT, "the pairing has ended", "pairing ended")


def find_host(context: RelayContext, login: Login, transcript: bytes) -> Session:
    """Return the session of the device that pairs the one that logs in. Raises `Refusal`."""
    host = context.pairings.get(login.device)
    if host is None or host.over:
        raise Refusal(Code.BAD_LOGIN, "no device waits to be paired by this code: it was used, or is over")
    try:
        verify_signature(login.device, transcript, login.signature)
    except CryptoError as error:
        raise Refusal(Code.BAD_LOGIN, f"the login does not hold: {error}") from None
    if login.device in context.sessions:
        raise Refusal(Code.BAD_LOGIN, "another device uses this code already; make a new one")
    return host


def remove_device(
    context: RelayContext, session: Session, request: RemoveDevice, done: Callable[[ServerError | None], None]
) -> None:
    """Have a device refused from now on, if the account of `session` signed that."""
    account, device = session.usage.account, request.device
    try:
        verify_revocation(account, device, request.revocation)
    except CryptoError:
        done(Refusal(Code.BAD_REQUEST, "the account did not revoke this device"))
        return

    def removed(outcome: Counter[bytes] | ServerError) -> None:
        if isinstance(outcome, ServerError):
            done(outcome)
            return
        context.quotas.release(outcome)
        context.removed.add((account, device))
        _log.info("device removed", name=session.name, device=device.hex())
        other = context.sessions.get(device)
        done(None)
        if other is not None and other.usage.account == account:
            other.close(Code.DEVICE_REMOVED, "your account removed this device", "device removed")

    context.sequencer.submit(
        partial(_revoke, account=account, device=device, signature=request.revocation), removed
    )


def _revoke(connection: apsw.Connection, account: bytes, device: bytes, signature: bytes) -> Counter[bytes]:
    """Keep a revocation; return the bytes of the invitations deleted, by account."""
    revocations.revoke_device(connection, account, device, signature)
    owner = connection.execute(
        "SELECT accounts.account FROM devices JOIN accounts ON accounts.id = devices.account"
        " WHERE device = ?",
        (device,),
    ).get
    return delete_invitations_of(connection, device) if owner == account else Counter()
