"""Messages as windows and scripts get them: with quotes, reactions and receipts. Knows no connection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from clave_client.client import Client
from clave_client.events import MessageKind
from clave_client.formats.mimi.status import MessageStatus
from clave_client.rpc.message_methods import Search
from clave_client.rpc.values import (
    FoundMessage,
    HistoryMessage,
    MessageDetails,
    MessageVersion,
    Quote,
    ReactionCount,
    Receipt,
    SearchPage,
)
from clave_client.store.conversation_tables import Reaction
from clave_client.store.message_tables import HistoryLine
from clave_client.values import MOST_NUMBER

__all__ = ["MOST_TEXT_BYTES", "MessageViews"]

MOST_TEXT_BYTES: Final = 1024 * 1024
"""Most bytes of messages in one answer."""

_QUOTED_CHARACTERS: Final = 200


class MessageViews:
    """Makes the values of messages that the RPC answers with."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._store = client.sync.store

    def messages(self, room: bytes, lines: Sequence[HistoryLine]) -> list[HistoryMessage]:
        """Return messages of one room, in the order of `lines`."""
        if not lines:
            return []
        first, last = min(line.seq for line in lines), max(line.seq for line in lines)
        reactions: defaultdict[bytes, list[Reaction]] = defaultdict(list)
        for message, reaction in self._store.reactions_between(room, first, last):
            reactions[message].append(reaction)
        receipts = self._store.receipt_counts(room, first, last)
        others = self._others(room)
        quotes: dict[bytes, Quote] = {}
        return [
            self._message(
                room, line, reactions.get(line.id, []), receipts.get(line.id, (0, 0)), others, quotes
            )
            for line in lines
        ]

    def details(self, room: bytes, line: HistoryLine) -> MessageDetails:
        """Return a message with its former versions, and of one's own message who received and read it."""
        (message,) = self.messages(room, [line])
        versions = [
            MessageVersion(each.text, each.markup, each.sent_at / 1000)
            for each in self._store.versions(room, line.id)
        ]
        return MessageDetails(message, versions, self._receipts(room, line) if message.own else [])

    def search(self, request: Search, room: bytes) -> SearchPage:
        """Return one page of what a search finds, in one room or with b"" in all, at most 1 MiB of text."""
        lines, end = self._client.search(
            request.words,
            room=room,
            sender=request.sender,
            since=request.since,
            before=request.before,
            limit=request.limit,
        )
        titles = {record.id: record.title for record in self._store.rooms()}
        found: list[FoundMessage] = []
        room_left = MOST_TEXT_BYTES
        for each in lines:
            room_left -= len(each.line.text.encode()) + len(each.line.markup.encode())
            if found and room_left < 0:
                return SearchPage(found, each.row + 1)
            (message,) = self.messages(each.room, [each.line])
            found.append(FoundMessage(each.room, titles.get(each.room, ""), message, each.marks))
        return SearchPage(found, end)

    def _message(
        self,
        room: bytes,
        line: HistoryLine,
        reactions: Sequence[Reaction],
        receipts: tuple[int, int],
        others: int,
        quotes: dict[bytes, Quote],
    ) -> HistoryMessage:
        own = line.account == self._client.sync.account.verified.account
        delivered, read = receipts
        return HistoryMessage(
            line.seq,
            self._client.sender(line),
            own,
            line.id,
            line.text,
            line.sent_at / 1000,
            line.seq & MOST_NUMBER,
            line.kind,
            line.markup,
            line.reply_to,
            self._quote(room, line.reply_to, quotes) if line.reply_to else None,
            line.accepted_at / 1000,
            line.edits,
            line.by,
            line.expires_at / 1000,
            line.expires_after,
            line.mentions_me,
            self._counts(reactions),
            min(delivered, others) if own else 0,  # some who got it may have left
            min(read, others) if own else 0,
            others if own else 0,
        )

    def _quote(self, room: bytes, message: bytes, quotes: dict[bytes, Quote]) -> Quote:
        found = quotes.get(message)
        if found is None:
            line = self._store.message(room, message)
            if line is None or line.kind in _GONE or self._store.is_blocked(line.account):
                found = Quote()
            else:
                text = line.text.partition("\n")[0][:_QUOTED_CHARACTERS]
                found = Quote(line.seq & MOST_NUMBER, line.name, text, line.kind)
            quotes[message] = found
        return found

    def _counts(self, reactions: Sequence[Reaction]) -> list[ReactionCount]:
        me = self._client.sync.account.verified.account
        names: defaultdict[str, list[str]] = defaultdict(list)
        own = {each.reaction for each in reactions if each.account == me}
        for each in reactions:
            names[each.reaction].append(each.name)
        counts = [ReactionCount(reaction, found, reaction in own) for reaction, found in names.items()]
        return sorted(counts, key=lambda each: (-len(each.names), each.reaction))

    def _others(self, room: bytes) -> int:
        """Return how many other accounts are in a room."""
        here = self._client.sync.rooms.get(room)
        return 0 if here is None else len(here.roster.accounts) - 1

    def _receipts(self, room: bytes, line: HistoryLine) -> list[Receipt]:
        here = self._client.sync.rooms.get(room)
        if here is None or not here.owes_receipts:
            return []
        states = self._store.receipts(room, line.id)
        names = {each.account: each.name for each in here.roster.people().values()}
        names.pop(line.account, None)
        words = {MessageStatus.DELIVERED: "delivered", MessageStatus.READ: "read"}
        found = ((name, states.get(account)) for account, name in names.items())
        return [
            Receipt(name, "" if state is None else words[MessageStatus(state)])
            for name, state in sorted(found, key=lambda each: each[0])
        ]


_GONE: Final = (MessageKind.EXPIRED, MessageKind.HIDDEN)
