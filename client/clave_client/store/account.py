"""This profile's account and device keys, and its key packages. Knows the store, not the network."""

from __future__ import annotations

from typing import Final, NamedTuple

from clave_client.errors import PeerError, StoreDamaged, UsageError
from clave_client.formats.agreed_state import EXTENSION_TYPES
from clave_client.store.database import Store
from clave_crypto.errors import IdentityError
from clave_crypto.identity import AccountKey, DeviceKey, VerifiedIdentity, verify_identity
from clave_crypto.keys import Secret
from clave_crypto.mls import CipherSuite, KeyPackageBundle, encode_message

__all__ = [
    "POOL_FULL",
    "POOL_LOW",
    "RENEWAL_SECONDS",
    "Account",
    "FreshPackages",
    "has_account_key",
    "leaf_lifetime",
]

_ACCOUNT_SECRET = "account_secret"  # noqa: S105  (a name)
"""Where the store keeps the account's key; empty or missing on a device that is not the primary one."""

_DEVICE_NAME = "main"
"""What a device is called unless its user says otherwise; all members of a room see it."""

POOL_LOW, POOL_FULL = 10, 20
"""Key packages of a suite at the relay: fewer than the first are topped up to the second."""

_DAY: Final = 24 * 3600

RENEWAL_SECONDS: Final = 30 * _DAY
"""Age of a suite's key packages at which all are replaced, the last resort too."""

_LIFETIME: Final = 90 * _DAY
_LAST_RESORT_LIFETIME: Final = 365 * _DAY
"""Clients of all versions accept lifetimes of at most 400 days, `_BACKDATED` included (decision 0010)."""

_BACKDATED: Final = _DAY
"""How long ago a lifetime began when it is made: a clock that is ahead by less keeps nobody out."""

_CLOCK_TOLERANCE: Final = 300
"""Seconds that the clock may go back before what was made in its future is replaced."""

_MOST_UNPUBLISHED = 5 * POOL_FULL
"""Most private halves kept of key packages that are not known to have reached the relay."""


def has_account_key(store: Store) -> bool:
    """Return whether a profile's database has the account's key: whether its device is the primary one."""
    return bool(store.get(_ACCOUNT_SECRET))


def leaf_lifetime(now: float, lasting: int = _LIFETIME) -> tuple[int, int]:
    """Return not_before and not_after, in seconds since 1970, of a leaf made now; neither is before 1970."""
    return max(0, int(now) - _BACKDATED), max(0, int(now)) + lasting


class FreshPackages(NamedTuple):
    """What to publish of a suite: fields of `PublishKeyPackages`, in its order."""

    packages: list[bytes]
    last_resort: bytes
    replace: bool
    not_after: int


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
            store.put(_ACCOUNT_SECRET, account.secret)
            store.put("device_secret", device.secret)
        return cls(store, identity, device)

    @classmethod
    def create_paired(cls, store: Store, identity: bytes, device: DeviceKey) -> Account:
        """Store the account of a device that another one has certified, without the account's key."""
        account = cls(store, identity, device)
        with store.transaction():
            store.put("identity", identity)
            store.put("device_secret", device.secret)
        return account

    @property
    def is_primary(self) -> bool:
        """Whether this device has the account's key, which certifies and revokes devices."""
        return has_account_key(self.store)

    def account_key(self) -> AccountKey:
        """Return the account's key. Raises `UsageError` if this is not the primary device."""
        secret = self.store.get(_ACCOUNT_SECRET)
        if not secret:
            raise UsageError("this device does not have the account's key")
        return AccountKey.from_secret(Secret(secret))

    def take_account_key(self, secret: Secret) -> None:
        """Store the account's key: this is the primary device from now on. Raises `PeerError` for another."""
        try:
            public = AccountKey.from_secret(secret).public
        except ValueError:
            public = b""
        if public != self.verified.account:
            raise PeerError("what was handed to this device is not the account's key")
        self.store.put(_ACCOUNT_SECRET, secret)

    def drop_account_key(self) -> None:
        """Delete the account's key, which another device has on its disk."""
        self.store.put(_ACCOUNT_SECRET, b"")

    @property
    def name(self) -> str:
        """The name this account goes by."""
        return self.verified.name

    def key_packages(
        self, suite: CipherSuite, held_by_relay: int, now: float, *, replace: bool = False
    ) -> FreshPackages | None:
        """Return a suite's key packages to publish, or None if the relay has enough that are not too old.

        All are replaced if they are too old, or made in the future as the clock was ahead then, or with
        `replace`; only then there is a last resort. Their private halves are stored when this returns.
        Call `published` once the relay has them; until then each call returns the same last resort.
        """
        replace = replace or self.must_renew(suite, now)
        if held_by_relay >= POOL_LOW and not replace:
            return None
        missing = POOL_FULL if replace else max(0, POOL_FULL - held_by_relay)
        fresh = [self.make_bundle(suite, now) for _ in range(missing)]
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
            last_resort = self._next_last_resort(suite, now) if replace else None
        packages = [encode_message(bundle.key_package) for bundle in fresh]
        encoded = encode_message(last_resort.key_package) if last_resort is not None else b""
        return FreshPackages(packages, encoded, replace, leaf_lifetime(now)[1])

    def must_renew(self, suite: CipherSuite, now: float) -> bool:
        """Return whether the key packages of a suite at the relay are to be replaced, as far as is known."""
        stored = self.store.get(_replaced_key(suite))
        return stored is None or not _is_recent(int.from_bytes(stored, "big"), now)

    def _next_last_resort(self, suite: CipherSuite, now: float) -> KeyPackageBundle:
        """Return the last resort to publish: the same until it is published or too old."""
        waiting = self.store.get(_waiting_key(suite)) or b""
        made_at, bundle = int.from_bytes(waiting[:8], "big"), self.bundle(waiting[8:])
        if bundle is not None and _is_recent(made_at, now):
            return bundle
        bundle = self.make_bundle(suite, now, last_resort=True)
        self.store.add_bundle(bundle.reference, bundle.encode(), suite.id, last_resort=True)
        self.store.put(_waiting_key(suite), _stamp(now) + bundle.reference)
        return bundle

    def drop_used(self, suite: CipherSuite, reference: bytes) -> None:
        """Delete and count the private half of a one-time key package that was used; keep a last resort."""
        self.store.drop_bundle(reference)
        if self.store.bundle(reference) is None:
            self.store.put(_used_key(suite), (self.used(suite) + 1).to_bytes(8, "big"))

    def used(self, suite: CipherSuite) -> int:
        """Return how many one-time key packages of a suite were used since some were published."""
        return int.from_bytes(self.store.get(_used_key(suite)) or b"", "big")

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
            self.store.put(_used_key(suite), b"")
            if last_resort:
                self.store.put(_replaced_key(suite), _stamp(now))
                self.store.put(_waiting_key(suite), b"")

    def bundle(self, reference: bytes) -> KeyPackageBundle | None:
        """Return the stored bundle of a key package, by its reference."""
        stored = self.store.bundle(reference)
        return None if stored is None else KeyPackageBundle.decode(stored)

    def is_restored(self, reference: bytes) -> bool:
        """Return whether a key package comes from a backup: what it opens may have been used since."""
        stored = self.store.get("restored bundles") or b""
        size = len(reference)
        return any(stored[place : place + size] == reference for place in range(0, len(stored), size))

    def make_bundle(self, suite: CipherSuite, now: float, *, last_resort: bool = False) -> KeyPackageBundle:
        """Return a new key package with its private half, which is not stored yet."""
        not_before, not_after = leaf_lifetime(now, _LAST_RESORT_LIFETIME if last_resort else _LIFETIME)
        return KeyPackageBundle.generate(
            suite,
            self.identity,
            self.device.secret,
            not_before=not_before,
            not_after=not_after,
            last_resort=last_resort,
            extension_types=EXTENSION_TYPES,
        )


def _unpublished_key(suite: CipherSuite) -> str:
    return f"key_packages_unpublished {suite.id:#06x}"


def _used_key(suite: CipherSuite) -> str:
    return f"key_packages_used {suite.id:#06x}"


def _replaced_key(suite: CipherSuite) -> str:
    return f"key_packages_replaced_at {suite.id:#06x}"


def _waiting_key(suite: CipherSuite) -> str:
    return f"last_resort_to_publish {suite.id:#06x}"


def _stamp(now: float) -> bytes:
    return max(0, int(now)).to_bytes(8, "big")


def _is_recent(made_at: int, now: float) -> bool:
    return -_CLOCK_TOLERANCE <= now - made_at <= RENEWAL_SECONDS
