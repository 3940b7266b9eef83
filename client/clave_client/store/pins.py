"""Pins: names bound to accounts by actions of the user. Knows the store; asks nobody.

A name is pinned when its key was shown, when an invitation to or from it was sent or accepted, and when its
key was verified. Rosters and unanswered invitations are compared with the pins and pin nothing. Confusable
names count as one, by the same rule as the relay's at registration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clave_client.errors import KeyMismatch
from clave_client.events import Person
from clave_client.store.database import Store
from clave_client.values import SeenKey
from clave_wire.text import fold, sanitize, skeleton

__all__ = ["Pins", "are_confusable", "check_inviter", "seen_keys"]


def are_confusable(name: str, other: str) -> bool:
    """Return whether two names are confusable: the relay would not register both."""
    return fold(name) == fold(other) or skeleton(name) == skeleton(other)


def seen_keys(name: str, people: Iterable[Person], source: str) -> list[SeenKey]:
    """Return the accounts among `people` that go by `name`."""
    accounts = {person.account for person in people if are_confusable(person.name, name)}
    return [SeenKey(account, source) for account in sorted(accounts)]


class Pins:
    """The pins of one profile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decided: set[bytes] = set()

    @property
    def changes(self) -> int:
        """A number that grows whenever a pin or a verified account may have changed."""
        return self._store.pins_version

    def known(self, name: str) -> SeenKey | None:
        """Return the account that `name` is pinned to, or None."""
        for bound, account in self._store.pins(name):
            return SeenKey(account, self._words(bound, account), bound=True)
        return None

    def contradicted_by(self, name: str, account: bytes) -> SeenKey | None:
        """Return the account that `name` is pinned to if it is another one than `account`, else None."""
        for bound, known in self._store.pins(name):
            if known != account:
                return SeenKey(known, self._words(bound, known), bound=True)
        return None

    def check(self, name: str, found: SeenKey, seen: Sequence[SeenKey] = ()) -> None:
        """Raise `KeyMismatch` if `name` is pinned to another account, or unpinned and `seen` with another."""
        known = self.contradicted_by(name, found.account)
        if known is None and self.known(name) is None:
            known = next((one for one in seen if one.account != found.account), None)
        if known is not None:
            raise KeyMismatch(name, known.account, known.source, found.account, found.source)

    def choose(self, name: str, seen: Sequence[SeenKey]) -> SeenKey | None:
        """Return the account that `name` means by its pin and where it was `seen`; None if neither exists.

        Raises `KeyMismatch` when these disagree, unless `repin` decided it in this run of the program.
        """
        known = self.known(name)
        decided = known is not None and known.account in self._decided
        for place, one in enumerate(seen):
            if known is None or one.account != known.account:
                if not decided:
                    self.check(name, one, seen[:place])
            elif decided:
                return one
        if seen and not decided:
            return seen[0]
        return None if known is None else SeenKey(known.account, "an earlier contact", bound=True)

    def pin(self, name: str, found: SeenKey) -> None:
        """Pin a name. Raises `KeyMismatch` if it is pinned to another account."""
        self.check(name, found)
        self._store.add_pin(name, found.account)

    def repin(self, name: str, account: bytes) -> None:
        """Pin a name to an account in place of any other, as the user decided."""
        with self._store.transaction():
            for bound, known in self._store.pins(name):
                if known != account:
                    self._store.drop_pin(bound)
            self._store.add_pin(name, account)
            self._store.note_decided(account)
        self._decided.add(account)

    def is_verified(self, name: str, account: bytes) -> bool:
        """Return whether `account` is verified and `name` is pinned to it."""
        known = self._store.account(account)
        return known is not None and known[1] and any(pin == account for _, pin in self._store.pins(name))

    def verify(self, name: str, account: bytes) -> None:
        """Mark an account as verified under `name`. Raises `KeyMismatch` if that is pinned to another one."""
        with self._store.transaction():
            self.pin(name, SeenKey(account, "the key that was compared"))
            self._store.add_account(account, name)
            self._store.verify_account(account)
            self._store.note_decided(account)

    def _words(self, bound: str, account: bytes) -> str:
        how = "verified" if self.is_verified(bound, account) else "know"
        return f"the {sanitize(bound)} you {how}"


def check_inviter(pins: Pins, inviter: Person) -> SeenKey:
    """Return the inviter's key. Raises `KeyMismatch` if the name is pinned to another account."""
    found = SeenKey(inviter.account, "who sent this invitation")
    pins.check(inviter.name, found)
    return found
