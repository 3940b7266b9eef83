"""One room after its relay lost entries: rolled back, with what this device sent queued again.

A part of `LocalRoom`. Knows no network.
"""

from __future__ import annotations

from clave_client import events
from clave_client.events import Event
from clave_client.rooms.relay_restores import encode_restores
from clave_client.rooms.stored_room import StoredRoom
from clave_client.values import ERA_BITS

__all__ = ["LostEntries"]


class LostEntries(StoredRoom):
    """A stored room that can be rolled back; the base of `RoomMessages`."""

    def _note_incarnation(self, incarnation: bytes, restores: list[tuple[bytes, int]]) -> None:
        """Store the relay's incarnation and restores. The caller opens the transaction."""
        if incarnation != self.record.incarnation:
            self.set(incarnation=incarnation)
        if restores != self.relay_restores:
            self.relay_restores = restores
            self.put_part("restores", encode_restores(restores))

    def resend_after(self, seq: int) -> None:
        """Queue what this device sent after entry `seq` again, with the same ids (in a transaction)."""
        waiting = self.outbox.ids()
        again = [
            each for each in self._store.sent_after(self.id, self.history_seq(seq)) if each.id not in waiting
        ]
        if again:  # what is in flight behind a refused submission is refused too: it waits as well
            in_flight_payloads = (
                set() if self.draining else {submitted.payload for submitted in self.in_flight.values()}
            )
            self.outbox.requeue_before(again, in_flight_payloads)

    def _roll_back(self, seq: int) -> Event:
        """Roll back to entry `seq`, after which a restored relay has lost all; queue own messages again."""
        count = self.record.cursor - seq
        self.commits.drop()
        self.rekeys.clear(None)
        self.discard_ciphertexts()  # their headers name entries that are lost
        self._drop_leaves_after(seq)
        self.resend_after(seq)
        self.chain.truncate(seq)
        shown = max(self.record.shown, self.record.era + 1 << ERA_BITS | seq)
        began, legacy = min(self.record.began, seq), min(self.record.legacy, seq)
        self.set(
            cursor=seq,
            read=min(self.record.read, seq),
            began=began,
            legacy=legacy,
            era=self.record.era + 1,
            shown=shown,
        )
        if self.joining is not None and not self.joining.let_in:
            self.set(lost=max(1, seq))  # the entry by which it joined may be lost
        return events.RelayRestored(self.id, self.record.title, count)
