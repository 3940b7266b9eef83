"""Executes the methods of the RPC about the account and the state of its profile. Knows no connection."""

from __future__ import annotations

import asyncio

from clave_client.client import Client
from clave_client.errors import ClientError, RelayUnreachable
from clave_client.people.key_lookup import look_up
from clave_client.rooms.suites import OFFERED
from clave_client.rpc.values import AccountDevice, AccountInfo, Health, SuiteCount
from clave_crypto.identity import fingerprint

__all__ = ["account_info", "check_health", "delete_account"]


async def account_info(client: Client) -> AccountInfo:
    """Return who this is, with the devices that the relay knows. Raises `RelayError`."""
    await client.wait_settled()
    me = client.sync.account.verified
    own = AccountDevice(me.device_name, client.sync.own_device, own=True, primary=client.is_primary)
    primary = {each.device for each in client.sync.devices.known.others().values() if each.is_primary}
    others: list[AccountDevice] = []
    other_owner = ""
    if client.is_online:
        named, devices = await look_up(client.sync.transport, client.name)
        if named.account != me.account:
            other_owner = fingerprint(named.account)
        else:
            found = [
                AccountDevice(each.device_name, each.device, primary=each.device in primary)
                for each in devices
            ]
            others = [each for each in found if each.device != own.device]
    address, relay_fingerprint = client.relay
    return AccountInfo(
        client.name,
        fingerprint(me.account),
        [own, *others],
        address,
        relay_fingerprint,
        client.is_online,
        other_owner,
    )


async def delete_account(client: Client, seconds: float) -> list[str]:
    """Leave all rooms and delete the account; return the titles of those not left. Raises `RelayError`."""
    if not await client.wait_settled():
        client.sync.connection.check()
        raise RelayUnreachable("the relay is away, and only it can free the name; nothing was deleted")
    client.check_deletable()
    kept: list[str] = []
    for room, record in list(client.rooms.items()):
        try:
            async with asyncio.timeout(seconds):
                client.note_leave(room)
                client.submit_noted(room)
                left = await client.wait_left(room)
        except (TimeoutError, ClientError):
            left = False
        if not left:
            kept.append(record.title)
    await client.delete_account()
    return [*kept, *client.unusable]


async def check_health(client: Client) -> Health:
    """Return the state of a client, after connecting to the relay once more without a login."""
    await client.wait_settled()
    try:
        await client.sync.connection.probe()
        relay_error = ""
    except ClientError as error:
        relay_error = str(error)
    transport = client.sync.connection.transport
    held: dict[int, int] = {}
    if transport is not None and client.is_online:
        held = dict(transport.logged_in.key_packages)
    restored = [room.record.title for room in client.sync.rooms.values() if room.epochs.restored]
    return Health(
        relay=str(client.sync.connection.address),
        relay_error=relay_error,
        is_online=client.is_online,
        key_packages=[SuiteCount(suite.name, held.get(suite.id, 0)) for suite in OFFERED if client.is_online],
        unusable=client.unusable,
        restored=restored,
        clock_ahead=client.sync.clock_check.ahead if client.is_online else None,
    )
