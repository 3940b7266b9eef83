"""This profile's account and device keys, and its key packages. Knows the store, not the network."""

from __future__ import annotations

from clave_client.errors import StoreDamaged, UsageError
from clave_client.formats.agreed_state import AGREED_STATE_EXTENSION
from clave_client.store.database import Store
from clave_crypto.errors import IdentityError
from clave_crypto.identity import AccountKey, DeviceKey, VerifiedIdentity, verify_identity
from clave_crypto.keys import Secret
from clave_crypto.mls import CipherSuite, KeyPackageBundle, encode_message

__all__ = ["Account", "leaf_lifetime"]

_DEVICE_NAME = "main"
"""What a device is called unless its user says otherwise; all members of a room see it."""

POOL_LOW, POOL_FULL = 10, 20
"""Key packages of a suite at the relay: fewer than the first are topped up to the second."""

_DAY = 24 * 3600
_LIFETIME = 90 * _DAY
_SKEW = 3600
_LAST_RESORT_AGE = 30 * _DAY
_MOST_UNPUBLISHED = 5 * POOL_FULL
"""Most private halves kept of key packages that are not known to have reached the relay."""


def leaf_lifetime(now: float) -> tuple[int, int]:
    """Return not_before and not_after, in seconds since 1970, of a leaf made now."""
    return int(now) - _SKEW, int(now) + _LIFETIME


class Account:
    """The identity of this profile: account key, device key, and the account's signature over the device."""

    def __init__(self, store: Store, identity: bytes, device: DeviceKey) -> None:
        self.store = store
        self.identity = identity
        self.device = device
        self.verified: VerifiedIdentity = verify_identity(identity, device.public)

    @classmethod
    def load_or_create(cls, store: Store, name: str, device_name: str = "") -> Account:
        """Load the profile's account, or create one with the name `name`, and a device with its name.

        Raises `StoreDamaged`, or `UsageError` for a name that cannot be one.
        """
        identity, device_secret = store.get("identity"), store.get("device_secret")
        if identity is not None and device_secret is not None:
            try:
                return cls(store, identity, DeviceKey.from_secret(Secret(device_secret)))
            except IdentityError as error:
                raise StoreDamaged(
                    f"the profile's own identity is damaged ({error}); restore a backup"
                ) from None
        account, device = AccountKey.generate(), DeviceKey.generate()
        try:
            identity = account.certify(name, device_name or _DEVICE_NAME, device.public)
        except IdentityError as error:
            raise UsageError(str(error)) from None
        with store.transaction():
            store.put("identity", identity)
            store.put("account_secret", account.secret)
            store.put("device_secret", device.secret)
        return cls(store, identity, device)

    @property
    def name(self) -> str:
        """The name this account goes by."""
        return self.verified.name

    def key_packages(
        self, suite: CipherSuite, held_by_relay: int, now: float, *, replace: bool = False
    ) -> tuple[list[bytes], bytes] | None:
        """Return a suite's key packages to publish and a last-resort one or b"", or None if there are enough.

        With `replace` there always is a last-resort one. Their private halves are stored when this returns.
        Call `published` once the relay has them; until then each call returns the same last resort.
        """
        made_at = int.from_bytes(self.store.get(_last_resort_key(suite)) or b"", "big")
        renew = replace or now - made_at > _LAST_RESORT_AGE
        if held_by_relay >= POOL_LOW and not renew:
            return None
        fresh = [self.make_bundle(suite, now) for _ in range(max(0, POOL_FULL - held_by_relay))]
        unpublished = self.store.get(_unpublished_key(suite)) or b""
        with self.store.transaction():
            # The latest ones may still reach the relay.
            unpublished += b"".join(bundle.reference for bundle in fresh)
            kept = _MOST_UNPUBLISHED * suite.hash_size
            for place in range(0, len(unpublished) - kept, suite.hash_size):
                self.store.drop_bundle(unpublished[place : place + suite.hash_size])
            self.store.put(_unpublished_key(suite), unpublished[-kept:])
            for bundle in fresh:
                self.store.add_bundle(bundle.reference, bundle.encode(), suite.id, last_resort=False)
            last_resort = self._next_last_resort(suite, now) if renew else None
        packages = [encode_message(bundle.key_package) for bundle in fresh]
        return packages, encode_message(last_resort.key_package) if last_resort is not None else b""

    def _next_last_resort(self, suite: CipherSuite, now: float) -> KeyPackageBundle:
        """Return the last resort to publish: the same until it is published or too old."""
        waiting = self.store.get(_waiting_key(suite)) or b""
        made_at, bundle = int.from_bytes(waiting[:8], "big"), self.bundle(waiting[8:])
        if bundle is not None and now - made_at <= _LAST_RESORT_AGE:
            return bundle
        bundle = self.make_bundle(suite, now, last_resort=True)
        self.store.add_bundle(bundle.reference, bundle.encode(), suite.id, last_resort=True)
        self.store.put(_waiting_key(suite), int(now).to_bytes(8, "big") + bundle.reference)
        return bundle

    @property
    def publications(self) -> int:
        """How often this device published key packages, by its own count."""
        return int.from_bytes(self.store.get("publications") or b"", "big")

    def note_publications(self, count: int) -> None:
        """Store how often this device published key packages, by the relay's count."""
        self.store.put("publications", count.to_bytes(8, "big"))

    def published(self, suite: CipherSuite, last_resort: bytes, now: float) -> None:
        """Note that the relay has what `key_packages` returned at `now`."""
        with self.store.transaction():
            self.store.put(_unpublished_key(suite), b"")
            if last_resort:
                self.store.put(_last_resort_key(suite), int(now).to_bytes(8, "big"))
                self.store.put(_waiting_key(suite), b"")

    def bundle(self, reference: bytes) -> KeyPackageBundle | None:
        """Return the stored bundle of a key package, by its reference."""
        stored = self.store.bundle(reference)
        return None if stored is None else KeyPackageBundle.decode(stored)

    def make_bundle(self, suite: CipherSuite, now: float, *, last_resort: bool = False) -> KeyPackageBundle:
        """Return a new key package with its private half, which is not stored yet."""
        not_before, not_after = leaf_lifetime(now)
        return KeyPackageBundle.generate(
            suite,
            self.identity,
            self.device.secret,
            not_before=not_before,
            not_after=not_after,
            last_resort=last_resort,
            extension_types=(AGREED_STATE_EXTENSION,),
        )


def _unpublished_key(suite: CipherSuite) -> str:
    return f"key_packages_unpublished {suite.id:#06x}"


def _last_resort_key(suite: CipherSuite) -> str:
    return f"last_resort_made_at {suite.id:#06x}"


def _waiting_key(suite: CipherSuite) -> str:
    return f"last_resort_to_publish {suite.id:#06x}"
