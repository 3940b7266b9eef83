"""Opens a profile's database and sets up what a client stands on. Connects to nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from clave_client.errors import ClientError, ProfileError, ProfileNotFound, RelayUnknown
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.transport import Connect
from clave_client.people.known_keys import KnownKeys
from clave_client.store.account import Account
from clave_client.store.database import Store
from clave_client.store.pins import Pins
from clave_client.store.profile import Profile
from clave_client.sync.room_sync import RoomSync
from clave_host.version import VERSION

__all__ = ["OpenedProfile", "open_profile"]


class OpenedProfile(NamedTuple):
    """What a client has once its profile's database is open."""

    sync: RoomSync
    pins: Pins
    people: KnownKeys


def open_profile(
    profile: Profile,
    relay: str | None,
    *,
    pin: bytes | None,
    token: str,
    device: str,
    clock: Callable[[], float],
    connect: Connect,
) -> OpenedProfile:
    """Open the database of an open profile; create it and the account if the profile is new.

    `relay` and the other arguments are those of `Client`. Raises `UsageError`, of which `ProfileNotFound` for
    a new profile without a relay and `RelayUnknown` for one that has not met its relay, and `ProfileError`.
    """
    address = None if relay is None else RelayAddress.parse(relay)
    if address is None and not profile.has_store:
        raise ProfileNotFound(profile.name)
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
        trust = CertificateTrust.load(store)
        if pin is not None:
            trust = trust.with_pin(pin)
        pins = Pins(store)
        pins.repin(account.name, account.verified.account)
    except ClientError:
        store.close()
        raise
    software = f"clave {VERSION}"
    sync = RoomSync(
        store, account, address, trust=trust, token=token, software=software, clock=clock, connect=connect
    )
    return OpenedProfile(sync, pins, KnownKeys(pins, sync))
