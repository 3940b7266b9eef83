"""Opens a profile's database and sets up what a client stands on. Connects to nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from clave_client.errors import ClientError, ProfileError, ProfileNotFound, RelayUnknown
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.proxy import NO_PROXY, Proxy, proxy_of_environment
from clave_client.net.transport import Connect, RelayTransport
from clave_client.people.key_lookup import claim_own
from clave_client.people.known_keys import KnownKeys
from clave_client.people.lifetimes import Clocks
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.store.pins import Pins
from clave_client.store.profile import Profile
from clave_client.sync.room_sync import RoomSync
from clave_host.version import VERSION

__all__ = ["OpenedProfile", "checked_proxy", "chosen_proxy", "open_profile", "route_of"]

_PROXY_KEY: Final = "proxy"
"""Where the store keeps the proxy that the user gave, or `NO_PROXY`."""


class OpenedProfile(NamedTuple):
    """What a client has once its profile's database is open."""

    sync: RoomSync
    pins: Pins
    people: KnownKeys


def open_profile(
    profile: Profile,
    relay: str | None,
    *,
    proxy: str | None,
    pin: bytes | None,
    link_pin: bytes | None,
    token: str,
    device: str,
    clock: Callable[[], float],
    connect: Connect | None,
) -> OpenedProfile:
    """Open the database of an open profile; create it and the account if the profile is new.

    `relay` and the other arguments are those of `Client`. Raises `UsageError`, of which `ProfileNotFound` for
    a new profile without a relay and `RelayUnknown` for one that has not met its relay, and `ProfileError`.
    """
    address = None if relay is None else RelayAddress.parse(relay)
    if address is None and not profile.has_store:
        raise ProfileNotFound(profile.name)
    if proxy is not None:
        proxy = checked_proxy(proxy)
    elif address is not None and not profile.has_store:
        proxy_of_environment(os.environ, address)  # so that a wrong one leaves no profile behind
    store = Store(profile.store_path, profile.take_key())
    try:
        if store.get("deleted") is not None:
            raise ProfileError(
                f"the account {profile.name} was deleted; to erase the rest: clave account delete --here-only"
            )
        account = Account.load_or_create(store, profile.name, device)
        stored = store.get("relay")
        if address is None and stored is None:
            raise RelayUnknown("this profile has not met its relay yet")
        address = address or RelayAddress.parse((stored or b"").decode())
        # A profile belongs to one relay: the pinned certificate holds for any address of it.
        if connect is None:
            connect = partial(RelayTransport.connect, proxy=chosen_proxy(store, proxy, address))
        trust = CertificateTrust.load(store)
        if pin is not None:
            trust = trust.with_pin(pin)
        if link_pin is not None:
            trust = trust.with_link_pin(link_pin)
        pins = Pins(store)
        pins.repin(account.name, account.verified.account)
    except ClientError:
        store.close()
        raise
    software = f"clave {VERSION}"
    sync = RoomSync(
        store, account, address, trust=trust, token=token, software=software, clock=clock, connect=connect
    )
    me = account.verified
    sync.devices.rooms.claim = lambda transport, suite, devices: claim_own(
        transport, suite, devices, account=me, clocks=Clocks(clock(), sync.clock_check.ahead)
    )
    return OpenedProfile(sync, pins, KnownKeys(pins, sync))


def route_of(proxy: str | None, address: RelayAddress) -> Connect:
    """Return how to connect before there is a profile, by the given proxy or that of the environment."""
    if proxy is None:
        found = proxy_of_environment(os.environ, address)
    else:
        text = checked_proxy(proxy)
        found = None if text == NO_PROXY else Proxy.parse(text)
    return partial(RelayTransport.connect, proxy=found)


def checked_proxy(given: str) -> str:
    """Return a proxy as it is stored, or `NO_PROXY`. Raises `UsageError`."""
    return NO_PROXY if given.strip() in ("", NO_PROXY) else Proxy.parse(given).encode()


def chosen_proxy(store: Store, given: str | None, address: RelayAddress) -> Proxy | None:
    """Return the proxy to use: the given one, which is stored at once, else the stored one, else ALL_PROXY's.

    It is stored before anything is connected, so that no later start connects without. Raises `UsageError`.
    """
    if given is not None:
        store.put(_PROXY_KEY, given.encode())
    stored = store.get(_PROXY_KEY)
    if stored is None:
        return proxy_of_environment(os.environ, address)
    text = stored.decode()
    return None if text == NO_PROXY else Proxy.parse(text)
