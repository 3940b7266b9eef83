"""Somebody who goes by another's name with a key of their own, and a relay that hands that key out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from unittest.mock import patch

from clave_client.formats.former_state import FORMER_STATE_EXTENSION, FormerRole, FormerState
from clave_client.net.address import RelayAddress
from clave_client.net.certificate_trust import CertificateTrust
from clave_client.net.transport import RelayTransport
from clave_client.rooms.policy import RoomPolicy
from clave_client.rooms.suites import NEW_ROOMS
from clave_crypto.identity import AccountKey, DeviceKey
from clave_crypto.mls import Add, Extension, Group, KeyPackageBundle, encode_message
from clave_wire.messages import Account, Invitation, KeyPackages, ToClient, ToRelay
from scenarios.stage import Somebody
from scenarios.test_invitations import last_resort

HOUR = 3600


class Impostor:
    """An account of the relay's making under somebody's name."""

    def __init__(self, name: str) -> None:
        self.name = name
        account, self.key = AccountKey.generate(), DeviceKey.generate()
        self.account = account.public
        self.identity = account.certify(name, "laptop", self.key.public)
        self._now = int(time.time())
        self._registered = False
        self.bundle = KeyPackageBundle.generate(
            NEW_ROOMS,
            self.identity,
            self.key.secret,
            not_before=self._now - HOUR,
            not_after=self._now + HOUR,
            extension_types=(FORMER_STATE_EXTENSION,),
        )

    async def register(self, address: RelayAddress) -> None:
        """Have the relay know this device, as one of an account with a name that is still free."""
        if self._registered:
            return
        self._registered = True
        stranger = AccountKey.generate().certify(
            f"ghost{self.key.public.hex()[:8]}", "laptop", self.key.public
        )
        link = await RelayTransport.connect(address, CertificateTrust(), lambda _: None)
        await link.login(stranger, self.key, "impostor", "")
        await link.close()

    def invites(self, guest: Somebody, title: str) -> bytes:
        """Bring `guest` a welcome to a group of this account's making; return the room's id."""
        room = os.urandom(16)
        state = FormerState(1, title, [self.account], FormerRole.MEMBER, FormerRole.ADMIN, FormerRole.ADMIN)
        group = Group.create(
            NEW_ROOMS,
            room,
            self.identity,
            self.key.secret,
            policy=RoomPolicy(),
            extensions=(Extension(FORMER_STATE_EXTENSION, state.encode()),),
            extension_types=(FORMER_STATE_EXTENSION,),
            not_before=self._now - HOUR,
            not_after=self._now + HOUR,
        )
        welcome = group.commit([Add(last_resort(guest))], now=self._now).welcome
        assert welcome is not None
        guest.client.sync.connection.receive([Invitation(7, room, 1, self.key.public, welcome)])
        return room


class Lies:
    """What a lying relay tells one person. `asked` lists the kinds of answers that were asked for."""

    def __init__(self, impostor: Impostor, *, about_lookups: bool, about_packages: bool) -> None:
        self._impostor = impostor
        self._about_lookups = about_lookups
        self._about_packages = about_packages
        self.asked: list[type[ToClient]] = []

    def tell(self, answer: ToClient) -> ToClient:
        self.asked.append(type(answer))
        liar = self._impostor
        if isinstance(answer, Account) and self._about_lookups:
            return Account(answer.id, [(liar.key.public, liar.identity)])
        if isinstance(answer, KeyPackages) and self._about_packages:
            return KeyPackages(answer.id, [encode_message(liar.bundle.key_package)])
        return answer


@contextlib.contextmanager
def lying_relay(
    person: Somebody, impostor: Impostor, *, about_lookups: bool = True, about_packages: bool = True
) -> Iterator[Lies]:
    """Have the relay name the impostor to `person`, and take it into rooms as if it had registered."""
    link = person.client.sync.transport
    lies = Lies(impostor, about_lookups=about_lookups, about_packages=about_packages)
    request = link.request

    async def asks(make: Callable[[int], ToRelay]) -> ToClient:
        await impostor.register(link.address)
        return lies.tell(await request(make))

    with patch.object(link, "request", asks):
        yield lies


async def plant(host: Somebody, room: bytes, impostor: Impostor) -> None:
    """Have `host` add the impostor to a room of its own."""
    await impostor.register(host.client.sync.connection.address)
    with lying_relay(host, impostor):
        await host.client.sync.commit(room, lambda _: [Add(impostor.bundle.key_package)])
