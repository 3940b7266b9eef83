"""Names, devices, key packages and invitations at the relay in memory. Knows no connections and no rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clave_client.testing.refusals import Refusal
from clave_crypto.errors import CryptoError
from clave_crypto.identity import verify_identity, verify_revocation, verify_signature
from clave_wire.errors import BadName
from clave_wire.messages import Code, Invitation, Login, PublishKeyPackages
from clave_wire.text import check_name, fold, skeleton

__all__ = ["Device", "MemoryDirectory"]

_MAX_DEVICES = 16


@dataclass
class Device:
    """A registered device; packages are by cipher suite, and each is given out once but the last resort.

    Each comes with the time after which it is not given out, in seconds since 1970; 0 for none.
    """

    key: bytes
    name: str
    account: bytes
    identity: bytes
    packages: dict[int, list[tuple[bytes, int]]] = field(default_factory=dict)
    last_resorts: dict[int, bytes] = field(default_factory=dict)
    published: int = 0
    invitations: dict[int, Invitation] = field(default_factory=dict)

    def publish(self, request: PublishKeyPackages) -> None:
        """Add key packages of a suite, in place of the former ones if it says so."""
        if request.replace:
            self.packages.pop(request.suite, None)
            self.last_resorts.pop(request.suite, None)
        waiting = self.packages.setdefault(request.suite, [])
        waiting += [(package, request.not_after) for package in request.packages]
        if request.last_resort:
            self.last_resorts[request.suite] = request.last_resort
        self.published += 1

    def claim(self, suite: int, now: float) -> bytes | None:
        """Return a key package of a suite, None if the device has none."""
        self.drop_expired(now)
        waiting = self.packages.get(suite)
        return waiting.pop(0)[0] if waiting else self.last_resorts.get(suite)

    def drop_expired(self, now: float) -> None:
        """Delete the packages that have expired."""
        for suite, waiting in self.packages.items():
            self.packages[suite] = [each for each in waiting if not each[1] or each[1] >= now]

    @property
    def counts(self) -> list[tuple[int, int]]:
        """(suite, number) of the key packages not claimed yet."""
        return [(suite, len(waiting)) for suite, waiting in self.packages.items() if waiting]


class MemoryDirectory:
    """All devices that are registered, by public key."""

    def __init__(self) -> None:
        self.devices: dict[bytes, Device] = {}
        self.revoked: dict[tuple[bytes, bytes], bytes] = {}
        """The accounts' signatures by which they revoked devices, by account and device."""

    @property
    def names(self) -> Mapping[bytes, str]:
        """The account name of every device."""
        return {key: device.name for key, device in self.devices.items()}

    def log_in(self, login: Login, transcript: bytes) -> tuple[Device, bool]:
        """Return the device of a login, and whether its name is new. Raises `Refusal`."""
        try:
            identity = verify_identity(login.identity, login.device)
            verify_signature(login.device, transcript, login.signature)
        except CryptoError as error:
            raise Refusal(Code.BAD_LOGIN, f"the login does not hold: {error}") from None
        name, account = identity.name, identity.account
        if (account, login.device) in self.revoked:
            raise Refusal(Code.DEVICE_REMOVED, "your account removed this device")
        known = self.devices.get(login.device)
        if known is not None and (known.account, known.name) != (account, name):
            raise Refusal(Code.BAD_LOGIN, "this device belongs to another account")
        others = [device for device in self.devices.values() if device.account == account]
        if any(device.name != name for device in others):
            raise Refusal(Code.BAD_LOGIN, "a name cannot be changed")
        if not others:
            self._check_free(name)
        if known is None:
            self.check_space(account)
            known = self.devices[login.device] = Device(login.device, name, account, login.identity)
        known.identity = login.identity
        return known, not others

    def delete(self, account: bytes) -> None:
        """Delete an account and all its devices."""
        self.devices = {key: each for key, each in self.devices.items() if each.account != account}

    def check_space(self, account: bytes) -> None:
        """Raise `Refusal` if an account has as many devices as it may."""
        if sum(each.account == account for each in self._live()) >= _MAX_DEVICES:
            raise Refusal(Code.LIMIT, f"an account has at most {_MAX_DEVICES} devices; remove one first")

    def revoke(self, account: bytes, device: bytes, signature: bytes) -> None:
        """Refuse a device from now on, by its account's signature. Raises `Refusal`."""
        try:
            verify_revocation(account, device, signature)
        except CryptoError:
            raise Refusal(Code.BAD_REQUEST, "the account did not revoke this device") from None
        self.revoked[account, device] = signature
        if device in self.devices and self.devices[device].account == account:
            self.devices[device].packages.clear()
            self.devices[device].last_resorts.clear()
            self.devices[device].invitations.clear()

    def revocations(self, name: str) -> list[tuple[bytes, bytes]]:
        """Return (device, signature) of what the account of a name has revoked. Raises `Refusal`."""
        accounts = {each.account for each in self.devices.values() if each.name == name}
        if not accounts:
            raise Refusal(Code.NO_SUCH_NAME, "nobody has this name here")
        return [(device, signed) for (account, device), signed in self.revoked.items() if account in accounts]

    def _live(self) -> list[Device]:
        return [each for each in self.devices.values() if (each.account, each.key) not in self.revoked]

    def find(self, name: str) -> list[Device]:
        """Return the devices of a name, by key. Raises `Refusal`."""
        found = sorted((each for each in self._live() if each.name == name), key=lambda device: device.key)
        if not found:
            raise Refusal(Code.NO_SUCH_NAME, "nobody has this name here")
        return found

    def claim(self, name: str, suite: int, now: float, only: bytes = b"") -> list[bytes]:
        """Return one key package of a suite of each device of a name, or of one. Raises `Refusal`."""
        devices = [each for each in self.find(name) if only in (b"", each.key)]
        claimed = [package for device in devices if (package := device.claim(suite, now)) is not None]
        if not claimed:
            text = f"no device of this name has a key package of cipher suite {suite:#06x} here"
            raise Refusal(Code.NO_KEY_PACKAGE, text)
        return claimed

    def _check_free(self, name: str) -> None:
        try:
            check_name(name)
        except BadName as error:
            raise Refusal(Code.BAD_NAME, str(error)) from None
        for taken in set(self.names.values()):
            if fold(taken) == fold(name):
                raise Refusal(Code.NAME_TAKEN, f"the name {taken} is taken")
            if skeleton(taken) == skeleton(name):
                raise Refusal(Code.NAME_CONFUSABLE, f"the name {name} looks like {taken}, which is taken")
