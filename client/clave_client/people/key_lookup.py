"""Looks up names at the relay and claims key packages, with every check that needs no trust in the relay.

What is verified is that an account signed its devices; whose account it is, only a compared fingerprint
shows. Knows no room.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from clave_client.errors import (
    ClientError,
    PeerError,
    PeerLacksSuite,
    RelayFault,
    RelayRefused,
    UsageError,
)
from clave_client.net.transport import RelayTransport
from clave_client.people.lifetimes import Clocks, LifetimeFault, is_over, is_valid, lifetime_fault
from clave_client.rooms.suites import suite_words
from clave_client.values import SeenKey
from clave_crypto.errors import CryptoError
from clave_crypto.identity import VerifiedIdentity, fingerprint, verify_identity, verify_revocation
from clave_crypto.mls import Add, CipherSuite, decode_key_package
from clave_wire.errors import BadName
from clave_wire.limits import MAX_KEY_PACKAGES
from clave_wire.messages import (
    Account,
    ClaimKeyPackages,
    Code,
    FindRevocations,
    KeyPackages,
    Lookup,
    Revocations,
)
from clave_wire.text import check_name, sanitize

__all__ = ["Invitee", "claim_invitee", "claim_own", "look_up"]

_REMOVED = "they have removed it, and the relay names it still; ask its operator"
_SOURCE = "the relay's word only"


@dataclass(frozen=True)
class Invitee:
    """Somebody to add to a group: a proposal for each device, and which devices cannot be added and why."""

    account: bytes
    adds: list[Add]
    left_out: list[tuple[VerifiedIdentity, str]]


async def look_up(transport: RelayTransport, name: str) -> tuple[SeenKey, list[VerifiedIdentity]]:
    """Return the account that the relay names for `name`, and its devices.

    Raises `UsageError` for an invalid name, `RelayRefused` when nobody has it, `RelayFault` or `PeerError`
    when the answer is not valid.
    """
    try:
        check_name(name)
    except BadName as error:
        raise UsageError(str(error)) from None
    answer = await transport.request(lambda request: Lookup(request, name))
    if not isinstance(answer, Account) or not answer.devices:
        raise RelayFault("the relay answered something else than was asked")
    devices = [_verify(name, identity, device) for device, identity in answer.devices]
    if len({device.account for device in devices}) > 1:
        raise RelayFault(f"the relay names several accounts for {name}")
    return SeenKey(devices[0].account, _SOURCE), devices


async def claim_invitee(
    transport: RelayTransport,
    name: str,
    suite: CipherSuite,
    *,
    members: Collection[bytes],
    check: Callable[[SeenKey], None],
    remember: Callable[[bytes, set[bytes]], set[bytes]],
    clocks: Clocks,
) -> Invitee | None:
    """Claim key packages of the devices of `name` that are not in `members`; return None when all are.

    Devices that the account has revoked are left out: `remember` is given the account with those that the
    relay shows, and returns all that are known. So are devices whose key packages cannot be used; when none
    of the devices has another one, what is wrong with the first is raised.

    Raises what `look_up` does, what `check` raises about the account that the relay names, `PeerLacksSuite`
    when none of the devices has a key package of `suite`, and `PeerError`, or `UsageError` if this machine's
    clock is off, when none has one that is valid now.
    """
    found, devices = await look_up(transport, name)
    check(found)
    revoked = remember(found.account, await _find_revoked(transport, name, found.account))
    removed = [device for device in devices if device.device in revoked]
    if len(removed) == len(devices):
        raise PeerError(f"{name} has removed all devices that the relay names; ask them to add one")
    absent = [device for device in devices if device.device not in (revoked | {*members})]
    if not absent:
        return None
    adds, invalid, refused = await _claim_valid(
        transport, name, suite, account=found.account, wanted={each.device for each in absent}, clocks=clocks
    )
    if refused is not None and not (adds or invalid):
        raise refused
    if not adds and invalid:
        fault = next(iter(invalid.values()))
        kind = UsageError if fault.is_own else PeerError
        raise kind(f"{name} cannot be invited: {fault.text}")
    if not adds:
        raise PeerLacksSuite(
            f"{name} cannot be invited yet: the relay has no key package of theirs for {suite.words};"
            " if they are new here try again in a moment, else ask them to update clave"
        )
    if refused is None:
        lacks = f"it lacks {suite.words}; update clave there and invite {name} again"
    else:
        lacks = str(refused)
    left_out = [
        (each, invalid[each.device].text if each.device in invalid else lacks)
        for each in absent
        if each.device not in adds
    ]
    left_out += [(each, _REMOVED) for each in removed]
    return Invitee(found.account, list(adds.values()), left_out)


async def _find_revoked(transport: RelayTransport, name: str, account: bytes) -> set[bytes]:
    """Return the devices that an account has revoked, as far as the relay shows its signatures.

    Raises `RelayFault` for one that the account did not sign.
    """
    if not transport.connection.has_devices:
        return set()
    answer = await transport.request(lambda request: FindRevocations(request, name))
    if not isinstance(answer, Revocations):
        raise RelayFault("the relay answered something else than was asked")
    try:
        for device, signature in answer.devices:
            verify_revocation(account, device, signature)
    except CryptoError:
        raise RelayFault(f"the relay says that {name} removed a device, without their signature") from None
    return {device for device, _ in answer.devices}


async def claim_own(
    transport: RelayTransport,
    suite: CipherSuite,
    devices: Collection[bytes],
    *,
    account: VerifiedIdentity,
    clocks: Clocks,
) -> list[Add]:
    """Claim a key package of each of these devices of the own account, where there is a valid one.

    One that fails does not keep the others out; if none has one, the first failure is raised.
    """
    adds: list[Add] = []
    failure: ClientError | None = None
    for device in devices:
        try:
            valid, _, refused = await _claim_valid(
                transport,
                account.name,
                suite,
                account=account.account,
                wanted={device},
                clocks=clocks,
                only=device,
            )
        except (RelayFault, RelayRefused) as error:
            failure = failure or error
            continue
        adds += valid.values()
        failure = failure or refused
    if failure is not None and not adds:
        raise failure
    return adds


async def _claim_valid(
    transport: RelayTransport,
    name: str,
    suite: CipherSuite,
    *,
    account: bytes,
    wanted: Collection[bytes],
    clocks: Clocks,
    only: bytes = b"",
) -> tuple[dict[bytes, Add], dict[bytes, LifetimeFault], ClientError | None]:
    """Claim until each of the `wanted` devices has a valid key package or can have none.

    Returns the valid ones by device, of the other devices that have any why theirs are not, and what is wrong
    with the first one that cannot be used, of which it is not known whose it is. The relay
    deletes an expired one as it hands it out, and next time hands out another one or the last resort; if
    that has expired too, it comes again. While only this machine's clock says that one is expired, no more
    are used up.
    """
    valid: dict[bytes, Add] = {}
    refused: dict[bytes, Add] = {}
    failure: ClientError | None = None
    for _ in range(MAX_KEY_PACKAGES + 1):
        is_done = True
        for package in await _claim(transport, name, suite, only):
            try:
                device, add = _decode(package, name, suite, account)
            except (PeerError, RelayFault) as error:
                failure = failure or error
                continue
            if device not in wanted or device in valid:
                continue
            if is_valid(add.key_package, clocks.own):
                valid[device] = add
                refused.pop(device, None)
            elif refused.get(device) != add:
                refused[device] = add
                is_done &= not is_over(add.key_package, min(clocks.own, clocks.relays))
        if is_done:
            break
    faults = {device: lifetime_fault(add.key_package, clocks) for device, add in refused.items()}
    return valid, faults, failure


async def _claim(transport: RelayTransport, name: str, suite: CipherSuite, only: bytes = b"") -> list[bytes]:
    """Claim key packages of a suite, of all devices or of one."""
    try:
        answer = await transport.request(lambda request: ClaimKeyPackages(request, name, suite.id, only))
    except RelayRefused as error:
        if error.code is Code.NO_KEY_PACKAGE:
            return []
        raise
    if not isinstance(answer, KeyPackages) or not answer.packages:
        raise RelayFault("the relay answered something else than was asked")
    return answer.packages


def _decode(package: bytes, name: str, suite: CipherSuite, account: bytes) -> tuple[bytes, Add]:
    """Return whose key package of an account it is, with the proposal. Raises `PeerError`, `RelayFault`."""
    try:
        add = Add(decode_key_package(package))
    except CryptoError as error:
        raise PeerError(f"the key package of {name} is refused: {sanitize(str(error))}") from None
    if add.key_package.cipher_suite != suite.id:
        raise RelayFault(
            f"the relay handed over a key package of {suite_words(add.key_package.cipher_suite)}"
            f" for {name} when asked for {suite.words}"
        )
    found = _identity(name, add)
    if found.account != account:
        raise RelayFault(
            f"the relay names one account for {name}, {fingerprint(account)},"
            f" and hands over keys of another, {fingerprint(found.account)}; nothing was done"
        )
    return found.device, add


def _identity(name: str, add: Add) -> VerifiedIdentity:
    leaf = add.key_package.leaf_node
    return _verify(name, leaf.credential.identity, leaf.signature_key)


def _verify(name: str, identity: bytes, device: bytes) -> VerifiedIdentity:
    try:
        found = verify_identity(identity, device)
    except CryptoError as error:
        raise PeerError(f"the relay's answer for {name} does not hold: {error}") from None
    if found.name != name:
        raise RelayFault(f"the relay answered with {sanitize(found.name)} when asked for {name}")
    return found
