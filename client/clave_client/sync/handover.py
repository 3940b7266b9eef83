"""Hands the account's key to another device, which is the primary one from then on.

The key is encrypted to a fresh key that the other device signed. This device deletes its copy once the other
one says, signed, that the key is on its disk; whatever crashes in between, one of them has it. Until then it
goes on whenever both are connected.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

import msgspec

from clave_client import events
from clave_client.errors import ClientError, PeerError, UsageError
from clave_client.formats.sibling_message import KeyOffer, KeyRequest, KeyStored, SealedKey, SiblingMessage
from clave_client.rooms.suites import NEW_ROOMS
from clave_client.store.account import Account
from clave_client.store.own_devices import Handover, OwnDevice
from clave_client.sync.siblings import SiblingContext, Siblings
from clave_crypto.errors import CryptoError
from clave_crypto.keys import Secret
from clave_wire.text import sanitize

__all__ = ["Handovers"]

_LABEL: Final = b"clave account key"
_ANSWER_SECONDS: Final = 20.0


class Handovers:
    """The handing over of one account's key, on either device."""

    def __init__(self, sync: SiblingContext, account: Account, siblings: Siblings) -> None:
        self._sync = sync
        self._account = account
        self._siblings = siblings
        self._pair: tuple[bytes, Secret, bytes] | None = None
        self._stored: asyncio.Future[None] | None = None

    # --- on the device that has the key ---

    async def hand_to(self, device: OwnDevice) -> None:
        """Hand the key to a device that is connected; return once it has it, and this one no longer has.

        Raises `UsageError`. If the device may have got it, this goes on by itself.
        """
        known, name = self._siblings.known, self._name(device.device)
        pending = known.handover
        if pending is None or pending.device != device.device:
            if pending is not None and pending.is_sent:
                other = self._name(pending.device)
                raise UsageError(f"{other} may have the key already; it has to answer first")
            pending = Handover(device.device, os.urandom(16))
            known.note_handover(pending)
        self._stored = asyncio.get_running_loop().create_future()
        try:
            if not await self._siblings.tell(device.device, KeyOffer(pending.number)):
                self._withdraw()
                raise UsageError(f"{name} is not connected; open clave there, then try again")
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await asyncio.shield(self._stored)
            except TimeoutError:
                if self._withdraw():
                    text = f"{name} does not answer; this device is still the primary one"
                    raise UsageError(text) from None
                text = f"{name} was sent the key, and has not said that it has it; this goes on by itself"
                raise UsageError(text) from None
        finally:
            self._stored = None

    def _withdraw(self) -> bool:
        """Forget a handover of which the other device cannot have got the key; return whether it was one."""
        pending = self._siblings.known.handover
        if pending is None or pending.is_sent:
            return False
        self._siblings.known.note_handover(None)
        return True

    async def go_on(self) -> None:
        """Go on with a handover that was interrupted, after a connection was made."""
        pending = self._siblings.known.handover
        if pending is None:
            return
        if not self._account.is_primary or pending.device not in self._siblings.known.others():
            self._siblings.known.note_handover(None)
        elif self._stored is None and not self._withdraw():
            await self._siblings.tell(pending.device, KeyOffer(pending.number))

    async def _send(self, device: bytes, request: KeyRequest) -> None:
        pending = self._siblings.known.handover
        if pending is None or (pending.device, pending.number) != (device, request.handover):
            return  # nobody asked for that here
        if request.suite != NEW_ROOMS.id:
            raise UsageError(f"{self._name(device)} has to update clave first")
        key = self._account.account_key().secret
        try:
            sealed = NEW_ROOMS.encrypt_with_label(request.public, _LABEL, request.handover + device, key)
        except (CryptoError, ValueError):
            raise PeerError(f"{self._name(device)} answered with what is no key") from None
        self._siblings.known.note_handover(msgspec.structs.replace(pending, is_sent=True))
        await self._siblings.tell(device, SealedKey(request.handover, *sealed))

    async def _drop(self, device: bytes, stored: KeyStored) -> None:
        known = self._siblings.known
        pending = known.handover
        if pending is None or pending != Handover(device, stored.handover, is_sent=True):
            return
        with known.store.transaction():
            known.note_handover(None)
            self._account.drop_account_key()
            heir = known.others().get(device)
            if heir is not None:
                known.put(msgspec.structs.replace(heir, is_primary=True))
        known.store.erased = True
        known.store.remove_traces()
        if self._stored is not None and not self._stored.done():
            self._stored.set_result(None)
        self._sync.emit(events.Notice(b"", f"{self._name(device)} is your primary device now"))
        self._sync.batch_done()
        await self._siblings.tell_all()

    # --- on the device that gets it ---

    async def _request(self, device: bytes, offer: KeyOffer) -> None:
        if self._account.is_primary:
            await self._siblings.tell(device, KeyStored(offer.handover))
            return
        if self._pair is None or self._pair[0] != offer.handover:  # the same offer may come twice
            self._pair = offer.handover, *NEW_ROOMS.kem.derive_key_pair(os.urandom(64))
        await self._siblings.tell(device, KeyRequest(offer.handover, NEW_ROOMS.id, self._pair[2]))

    async def _take(self, device: bytes, sealed: SealedKey) -> None:
        if self._pair is None or self._pair[0] != sealed.handover:
            return
        _, private, _ = self._pair
        context = sealed.handover + self._account.device.public
        try:
            key = NEW_ROOMS.decrypt_with_label(private, _LABEL, context, sealed.kem_output, sealed.ciphertext)
            self._account.take_account_key(Secret(key))
        except (CryptoError, PeerError, ValueError) as error:
            raise PeerError(f"what {self._name(device)} handed over is no account key: {error}") from None
        self._pair = None
        self._sync.emit(events.Notice(b"", "this is your primary device now: it adds and removes devices"))
        self._sync.batch_done()
        await self._siblings.tell(device, KeyStored(sealed.handover))
        await self._siblings.tell_all()

    # --- both ---

    def handle(self, device: bytes, message: SiblingMessage) -> None:
        """Take what another device of the account says, which has signed it."""
        match message:
            case KeyOffer():
                self._sync.spawn(lambda: self._request(device, message))
            case KeyRequest():
                self._sync.spawn(lambda: self._quietly(device, message))
            case SealedKey():
                self._sync.spawn(lambda: self._take(device, message))
            case KeyStored():
                self._sync.spawn(lambda: self._drop(device, message))

    async def _quietly(self, device: bytes, request: KeyRequest) -> None:
        try:
            await self._send(device, request)
        except ClientError as error:
            if self._stored is not None and not self._stored.done():
                self._stored.set_exception(error)
            else:
                raise

    def _name(self, device: bytes) -> str:
        known = self._siblings.known
        found = known.others().get(device)
        return "a device" if found is None else sanitize(known.identity(found).device_name)
