"""Names bound to accounts ("pinned"), by acts of this profile's user only. Knows the store; asks nobody.

A look-up that was shown, an invitation that was sent or accepted and a comparison bind a name. What rosters
and unanswered invitations show is compared with that and binds nothing. Names are compared as the relay does
when one is registered, so another spelling that looks alike is the same name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clave_client.errors import KeyMismatch
from clave_client.events import Person
from clave_client.store.database import Store
from clave_wire.text import fold, sanitize, skeleton

__all__ = ["Pins", "SeenKey", "are_confusable", "check_inviter", "seen_keys"]


@dataclass(frozen=True)
class SeenKey:
    """An account that goes by a name, in words where that was seen, and whether the name is bound to it."""

    account: bytes
    source: str
    bound: bool = False


def are_confusable(name: str, other: str) -> bool:
    """Return whether the relay would refuse to register one of two names beside the other."""
    return fold(name) == fold(other) or skeleton(name) == skeleton(other)


def seen_keys(name: str, people: Iterable[Person], source: str) -> list[SeenKey]:
    """Return the accounts among `people` that go by `name`."""
    accounts = {person.account for person in people if are_confusable(person.name, name)}
    return [SeenKey(account, source) for account in sorted(accounts)]


class Pins:
    """The bound names of one profile. `changes` counts what this object bound or let go of."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decided: set[bytes] = set()
        self.changes = 0

    def known(self, name: str) -> SeenKey | None:
        """Return the account that `name` is bound to."""
        for bound, account in self._store.pins(name):
            return SeenKey(account, self._words(bound, account), bound=True)
        return None

    def contradicted_by(self, name: str, account: bytes) -> SeenKey | None:
        """Return the account that `name` is bound to if that is another one than `account`."""
        for bound, known in self._store.pins(name):
            if known != account:
                return SeenKey(known, self._words(bound, known), bound=True)
        return None

    def check(self, name: str, found: SeenKey, seen: Sequence[SeenKey] = ()) -> None:
        """Raise `KeyMismatch` if `found` is not whom `name` is bound to, or, unbound, not whom was `seen`."""
        known = self.contradicted_by(name, found.account)
        if known is None and self.known(name) is None:
            known = next((one for one in seen if one.account != found.account), None)
        if known is not None:
            raise KeyMismatch(name, known.account, known.source, found.account, found.source)

    def choose(self, name: str, seen: Sequence[SeenKey]) -> SeenKey | None:
        """Return whom `name` means, out of what it is bound to and where it was seen; None if neither.

        Raises `KeyMismatch` when these disagree, unless `repin` has decided it.
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
        """Bind a name; raises `KeyMismatch` if it is bound to another account."""
        self.check(name, found)
        self._store.add_pin(name, found.account)
        self.changes += 1

    def repin(self, name: str, account: bytes) -> None:
        """Bind a name to an account, another one or the same, as the user decided."""
        with self._store.transaction():
            for bound, known in self._store.pins(name):
                if known != account:
                    self._store.drop_pin(bound)
            self._store.add_pin(name, account)
        self._decided.add(account)
        self.changes += 1

    def is_verified(self, name: str, account: bytes) -> bool:
        """Return whether `account` was compared, and `name` is bound to it."""
        known = self._store.account(account)
        return known is not None and known[1] and any(pin == account for _, pin in self._store.pins(name))

    def verify(self, name: str, account: bytes) -> None:
        """Mark an account as compared under `name`; raises `KeyMismatch` if that is bound to another one."""
        with self._store.transaction():
            self.pin(name, SeenKey(account, "the key that was compared"))
            self._store.add_account(account, name)
            self._store.verify_account(account)

    def _words(self, bound: str, account: bytes) -> str:
        how = "verified" if self.is_verified(bound, account) else "know"
        return f"the {sanitize(bound)} you {how}"


def check_inviter(pins: Pins, inviter: Person) -> SeenKey:
    """Return whom an invitation comes from; raises `KeyMismatch` if the name is bound to another account."""
    found = SeenKey(inviter.account, "who sent this invitation")
    pins.check(inviter.name, found)
    return found
