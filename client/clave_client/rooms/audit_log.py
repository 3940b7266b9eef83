"""Checks what a profile has kept of one room's log: the hash chain, the history, and what waits to be sent.

Entries themselves are not kept, so a link of the chain can be computed only where an entry still waits for a
rekey; elsewhere it is compared with the views that payloads of this device and of others have in their
headers. A text is compared with the content that this device sent, with its Markdown, with the stored event
that told of it, and with the search index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from clave_client.errors import ClientError
from clave_client.events import MessageKind
from clave_client.formats.content import Content, ContentKind, read_content
from clave_client.formats.markdown import mentioned, readable
from clave_client.formats.mimi.message_id import check_message_id
from clave_client.formats.payload import OTHER_HEADER, header_digest
from clave_client.rooms.log_chain import chain_link, chain_start
from clave_client.rooms.pending_commits import PendingCommits
from clave_client.store import audit_queries
from clave_client.store.audit_queries import StoredMessage
from clave_client.store.database import OutboxItem, RoomRecord, Store
from clave_client.values import ERA_BITS, MOST_NUMBER
from clave_crypto.identity import VerifiedIdentity
from clave_crypto.mls import authenticated_data
from clave_wire.header import Seen, split_payload
from clave_wire.messages import Entry, Kind

__all__ = ["Broken", "LogAudit", "count_of"]

_HASH_BYTES: Final = 32
_entries: Final = msgspec.msgpack.Decoder(Entry)


class Broken(Exception):
    """A check does not hold; the text says why."""


def count_of(count: int, noun: str) -> str:
    """Return a number of things in words, as in "1 device" or "12 devices"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class LogAudit:
    """The checks of one room's log; `own` is this device, `commits` are its changes that wait, if any."""

    def __init__(
        self, store: Store, record: RoomRecord, own: VerifiedIdentity, commits: PendingCommits | None
    ) -> None:
        self._store = store
        self._record = record
        self._own = own
        self._commits = commits

    # --- the hash chain ---

    def check_chain(self) -> str:
        """Check that the hashes have no gap up to the cursor, and agree with all that was kept of them."""
        room, cursor = self._record.id, self._record.cursor
        rows = audit_queries.chain_rows(self._store, room)
        if not rows:
            return "none of it is kept yet"
        hashes = dict(rows)
        first, last = rows[0][0], rows[-1][0]
        missing = next((seq for seq in range(first, last) if seq not in hashes), None)
        if missing is not None:
            raise Broken(f"that of entry {missing} is missing")
        if last != cursor:
            raise Broken(f"it ends at entry {last}, but this device has read up to {cursor}")
        bad = next((seq for seq, found in rows if len(found) != _HASH_BYTES), None)
        if bad is not None:
            raise Broken(f"that of entry {bad} is none")
        if first == 0 and hashes[0] != chain_start(room, 0):
            raise Broken("it does not start as that of this room does")
        compared = 0
        for entry in self._waiting():
            before, after = hashes.get(entry.seq - 1), hashes.get(entry.seq)
            if before is not None and after is not None:
                compared += 1
                if chain_link(before, entry) != after:
                    raise Broken(f"that of entry {entry.seq} is not that of the entry which waits")
        for seen in self._views():
            known = hashes.get(seen.seq)
            compared += known is not None
            if known not in (None, seen.hash):
                raise Broken(f"that of entry {seen.seq} is not the one that was sent to the others")
        views = f", and agrees with {count_of(compared, 'view')} kept elsewhere" if compared else ""
        return f"it goes from entry {first} to {last} without a gap{views}"

    def _waiting(self) -> Iterator[Entry]:
        for data in audit_queries.waiting_rows(self._store, self._record.id):
            entry = _entries.decode(data)
            if entry.room != self._record.id:
                raise Broken("an entry of another room waits in this one")
            yield entry

    def _views(self) -> Iterator[Seen]:
        """Yield the views in the headers of all payloads that are kept.

        Not those of entries that say what comes after them, which only an insider's do.
        """
        for entry in self._waiting():
            seen = split_payload(entry.payload)[0].seen
            if seen.seq < entry.seq:
                yield seen
        payloads = [] if self._commits is None else list(self._commits.payloads)
        items = audit_queries.outbox_rows(self._store, self._record.id)
        payloads += [item.payload for item in items if item.payload is not None and self._has_headers]
        for payload in payloads:
            yield split_payload(payload)[0].seen

    @property
    def _has_headers(self) -> bool:
        """Whether payloads have headers: those of protocol 3 have none, and are made again on resuming."""
        return self._record.legacy >= 0

    # --- what waits to be sent ---

    def check_outbox(self, head: bytes) -> str:
        """Check the contents and the ciphertexts of what waits; `head` is the epoch of the group."""
        items = audit_queries.outbox_rows(self._store, self._record.id)
        heads = {head} if self._commits is None else {head, *self._commits.heads}
        for number, item in enumerate(items, start=1):
            if item.data:
                content = self._read(item.data)
                if (content.id, content.kind) != (item.id, item.kind):
                    raise Broken(f"number {number} of them is not the content with its id")
                if item.kind in (ContentKind.TEXT, ContentKind.EDIT) and not self._says(content, item.body):
                    raise Broken(f"number {number} of them is shown with another text than it has")
            if item.payload is not None and self._has_headers:
                self._check_ciphertext(number, item, heads, item.payload)
        encrypted = sum(item.payload is not None for item in items)
        return f"{count_of(len(items), 'content')}, {encrypted} of them encrypted" if items else "none"

    def _check_ciphertext(self, number: int, item: OutboxItem, heads: set[bytes], payload: bytes) -> None:
        header, raw_header, body = split_payload(payload)
        if header.kind is not Kind.APPLICATION or header.head != item.head:
            raise Broken(f"number {number} of them is encrypted for another epoch than is noted")
        if item.placed is None and header.head not in heads:
            return  # it is made again in the present epoch before it is sent
        if not 0 < header.count <= self._record.count:
            raise Broken(f"number {number} of them has a count that this device has not used")
        if authenticated_data(body) != header_digest(raw_header):
            raise Broken(f"number {number} of them: {OTHER_HEADER}")

    # --- the history ---

    def check_history(self, devices: Mapping[bytes, bytes], most_searched: int) -> str:
        """Check all messages; `devices` are the accounts of the members' devices.

        Of texts without an exact copy, at most `most_searched` are looked up in the search index.
        """
        number = exact = found = searched = 0
        for message in audit_queries.history_rows(self._store, self._record.id):
            number += 1
            place = message.seq & MOST_NUMBER
            try:
                self._check_place(message)
                self._check_sender(message, devices)
                has_copy = self._check_text(message)
                if message.text and not has_copy and searched < most_searched:
                    searched += 1
                    self._check_indexed(message)
            except ClientError as error:
                raise Broken(f"message {place}: {error}") from None
            except Broken as error:
                raise Broken(f"message {place} {error}") from None
            exact += has_copy
            found += bool(message.text)
        texts = f"; {exact} of {count_of(found, 'text')} exactly as received or sent" if found else ""
        texts += f", {searched} with the words that the search knows" if searched else ""
        return f"{count_of(number, 'message')} with ids, numbers and senders that fit{texts}"

    def _check_place(self, message: StoredMessage) -> None:
        era, place = message.seq >> ERA_BITS, message.seq & MOST_NUMBER
        if era > self._record.era or (era == self._record.era and place > self._record.cursor):
            raise Broken("is beyond what this device has read")
        if place < 1:
            raise Broken("has a number that no entry has")
        check_message_id(message.id)

    def _check_sender(self, message: StoredMessage, devices: Mapping[bytes, bytes]) -> None:
        if devices.get(message.device, message.account) != message.account:
            raise Broken("is said to be of another account than its device")

    def _check_text(self, message: StoredMessage) -> bool:
        """Check a text against what is kept beside it; return whether there is an exact copy."""
        if message.kind not in (MessageKind.TEXT, MessageKind.UNKNOWN):
            if message.text or message.markup:
                raise Broken("was deleted, and still says something")
            return False
        if message.markup and not mentioned(message.markup) and readable(message.markup) != message.text:
            raise Broken("is shown with another text than its Markdown has")
        return self._check_sent(message) or self._check_told(message)

    def _check_indexed(self, message: StoredMessage) -> None:
        if not audit_queries.is_indexed(self._store, message):
            raise Broken("has other words than the search knows of it")

    def _check_sent(self, message: StoredMessage) -> bool:
        """Compare a message of this device, and its former versions, with what was sent."""
        if message.device != self._own.device:
            return False
        current = message.version or message.id
        versions = [(current, message.text)]
        if message.edits:
            former = audit_queries.version_rows(self._store, message.row)
            versions += [(each.id, each.text) for each in former]
        compared = False
        for version, text in versions:
            data = audit_queries.own_content(self._store, version)
            if data is None:
                continue
            content = self._read(data)
            if content.id != version:
                raise Broken("has an id that is not that of what was sent")
            if not self._says(content, text):
                raise Broken("has another text than was sent")
            compared |= version == current
        return compared

    def _check_told(self, message: StoredMessage) -> bool:
        """Compare a message that was not edited with the stored event that told of it."""
        if message.edits:
            return False
        texts = audit_queries.told_texts(self._store, message.id)
        if any(text != message.text for text in texts):
            raise Broken("has another text than it was shown with when it came")
        return bool(texts)

    def _read(self, data: bytes) -> Content:
        return read_content(data, room=self._record.id, account=self._own.account, now=0.0)

    def _says(self, content: Content, text: str) -> bool:
        """Return whether a content has this text; names of mentioned people may have changed since."""
        return bool(content.markup and mentioned(content.markup)) or content.text == text
