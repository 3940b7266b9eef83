"""What contents do to the history, alike at all members, whatever they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client import events
from clave_client.events import MessageKind
from clave_client.formats.composing import Composer, Outgoing
from clave_client.formats.content import ContentKind
from clave_client.formats.mimi.content import Expiration
from clave_client.formats.mimi.status import MessageStatus
from clave_client.rooms.expiring import expire_messages
from clave_client.store.journal import Journal
from clave_client.store.message_tables import MOST_VERSIONS, HistoryLine
from client.memory_relay import NOW, Log, Member, deliver, in_one_room, say

NOBODYS = b"\x01" + bytes(31)


def does(log: Log, member: Member, item: Outgoing) -> bytes:
    """Have a member send a content and the relay take it; return its id."""
    member.room.enqueue(item)
    (submit,) = member.room.prepare_messages()
    log.append(member, submit)
    return item.id


def said(log: Log, member: Member, text: str) -> bytes:
    return does(log, member, member.room.composer.text(text))


def histories(*members: Member) -> list[list[tuple[str, MessageKind, int]]]:
    return [
        [(line.text, line.kind, line.edits) for line in member.store.history(member.room.id)]
        for member in members
    ]


def alike(log: Log, *members: Member) -> list[events.Event]:
    """Deliver to all, check that all have the same history, and return what the last one was told."""
    results = deliver(log, *members)
    first, *others = histories(*members)
    assert all(each == first for each in others)
    return results[-1].events


def only(found: list[HistoryLine]) -> HistoryLine:
    (line,) = found
    return line


@pytest.fixture
def room(tmp_path: Path) -> tuple[Log, Member, Member, Member]:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    return log, red, blue, green


Room = tuple[Log, Member, Member, Member]


def test_a_message_is_mimi_where_all_read_it(room: Room) -> None:
    log, red, blue, green = room
    message = said(log, red, "hello")
    alike(log, red, blue, green)
    assert only(blue.store.history(blue.room.id)).id == message
    assert message[0] == 1
    assert len(message) == 32


def test_where_a_member_reads_only_the_former_format_that_is_sent(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue", current=False)
    assert blue.room.roster.outdated == ("red",)
    say(log, blue, "hello")
    (item,) = blue.store.outbox(blue.room.id, 9)
    assert item.data[0] == 0x95
    alike(log, red, blue)
    first, second = (only(member.store.history(member.room.id)) for member in (red, blue))
    assert first.id == second.id == item.id, "all derive the same id"


def test_an_edit_of_the_author_counts_the_last_one_wins_and_all_are_kept(room: Room) -> None:
    log, red, blue, green = room
    message = said(log, red, "one")
    compose = red.room.composer
    second = does(log, red, compose.text("two", replaces=message))
    does(log, red, compose.text("three", replaces=second))  # an edit of an edit is one of the original
    told = alike(log, red, blue, green)
    assert histories(blue) == [[("three", MessageKind.TEXT, 2)]]
    assert [version.text for version in blue.store.versions(blue.room.id, message)] == ["one", "two"]
    edits = [event for event in told if isinstance(event, events.MessageEdited)]
    assert [(event.id, event.text) for event in edits] == [(message, "two"), (message, "three")]
    found = blue.store.message(blue.room.id, second)
    assert found is not None
    assert found.id == message, "an answer to a version is one to the message"


def test_a_message_edited_very_often_stays_small(room: Room) -> None:
    log, red, blue, _ = room
    message = said(log, red, "0")
    deliver(log, red, blue)
    for number in range(1, 100):
        does(log, red, red.room.composer.text(str(number), replaces=message))
        deliver(log, red)
    deliver(log, blue)
    assert histories(blue) == [[("99", MessageKind.TEXT, 99)]]
    kept = [version.text for version in blue.store.versions(blue.room.id, message)]
    assert kept == [str(number) for number in range(99 - MOST_VERSIONS, 99)]


def test_stored_events_hold_the_last_edit_of_a_message_only(room: Room) -> None:
    log, red, blue, _ = room
    message = said(log, red, "zero")
    deliver(log, red, blue)
    for number in range(1, 4):
        does(log, red, red.room.composer.text(f"version {number}", replaces=message))
        deliver(log, red)
        deliver(log, blue)
    stored = [bytes(each.event) for each in Journal(blue.store).read(0, 100).events]
    assert [each for each in stored if b"version" in each] == [stored[-1]]
    assert b"version 3" in stored[-1]


def test_a_text_that_grows_too_long_when_it_is_made_safe_is_not_shown(room: Room) -> None:
    log, red, blue, _ = room
    said(log, red, "\x1b" * 20_000)
    said(log, red, "\x1b" * 4_000)
    deliver(log, red, blue)
    first, second = blue.store.history(blue.room.id)
    assert (first.kind, first.text) == (MessageKind.UNKNOWN, "")
    assert second.text == "<U+001B>" * 4_000


def test_that_an_invitation_was_accepted_is_told_once(room: Room) -> None:
    log, red, blue, green = room
    for _ in range(3):
        does(log, red, red.room.composer.joined())
    told = alike(log, red, blue, green)
    assert len([each for each in told if isinstance(each, events.InvitationAccepted)]) == 1


@pytest.mark.parametrize("deed", ["edit", "delete"])
def test_a_member_cannot_change_anothers_message(room: Room, deed: str) -> None:
    log, red, blue, green = room
    message = said(log, red, "mine")
    alike(log, red, blue, green)
    compose = blue.room.composer
    for _ in range(3):
        does(log, blue, compose.text("no", replaces=message) if deed == "edit" else compose.deletion(message))
        deliver(log, blue)
    told = alike(log, red, blue, green)
    assert histories(green) == [[("mine", MessageKind.TEXT, 0)]]
    (notice,) = [event for event in told if isinstance(event, events.Notice)]
    assert notice.text.startswith(f"blue tried to {deed} a message of red"), "and it is told once"


def test_an_admin_removes_anothers_message_and_nobody_changes_that(room: Room) -> None:
    log, red, blue, green = room
    message = said(log, blue, "rude")
    alike(log, red, blue, green)
    does(log, red, red.room.composer.deletion(message))
    does(log, blue, blue.room.composer.text("rude again", replaces=message))
    told = alike(log, red, blue, green)
    line = only(green.store.history(green.room.id))
    assert (line.kind, line.text, line.by) == (MessageKind.REMOVED, "", "red")
    (deleted,) = [event for event in told if isinstance(event, events.MessageDeleted)]
    assert (deleted.person.name, deleted.author) == ("red", "blue")


def test_a_deletion_is_final_and_leaves_nothing(room: Room) -> None:
    log, red, blue, green = room
    message = said(log, red, "a secret word")
    does(log, red, red.room.composer.text("a secret phrase", replaces=message))
    does(log, blue, blue.room.composer.reaction(message, "secret!"))
    alike(log, red, blue, green)
    does(log, red, red.room.composer.deletion(message))
    does(log, red, red.room.composer.text("back again", replaces=message))
    alike(log, red, blue, green)
    assert histories(blue) == [[("", MessageKind.DELETED, 0)]]
    for member in (red, blue, green):
        member.store.remove_traces()
        assert member.store.versions(member.room.id, message) == []
        assert member.store.reactions(member.room.id, message) == []
        dump = [row for table in TABLES for row in member.store.rows(f"SELECT * FROM {table}")]  # noqa: S608
        assert not any("secret" in str(value) or b"secret" in _bytes(value) for row in dump for value in row)


TABLES = ("messages", "versions", "reactions", "sent", "outbox", "events", "typed_lines")


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def test_reactions_are_counted_once_per_account_and_taken_back(room: Room) -> None:
    log, red, blue, green = room
    message = said(log, red, "good news")
    first = does(log, blue, blue.room.composer.reaction(message, "+1"))
    does(log, blue, blue.room.composer.reaction(message, "+1"))
    does(log, green, green.room.composer.reaction(message, "+1"))
    alike(log, red, blue, green)
    found = red.store.reactions(red.room.id, message)
    assert [(each.name, each.reaction) for each in found] == [("blue", "+1"), ("green", "+1")]
    does(log, green, green.room.composer.deletion(first))  # another's reaction
    does(log, blue, blue.room.composer.deletion(first))
    told = alike(log, red, blue, green)
    assert [each.name for each in red.store.reactions(red.room.id, message)] == ["green"]
    changes = [event for event in told if isinstance(event, events.ReactionChanged)]
    assert [(event.person.name, event.added) for event in changes] == [("blue", False)]


def test_what_names_nothing_does_nothing(room: Room) -> None:
    log, red, blue, green = room
    compose = red.room.composer
    does(log, red, compose.text("an answer to nothing", reply_to=NOBODYS))
    for item in (
        compose.text("no", replaces=NOBODYS),
        compose.deletion(NOBODYS),
        compose.reaction(NOBODYS, "+1"),
        compose.statuses([(NOBODYS, MessageStatus.READ)]),
    ):
        does(log, red, item)
    told = alike(log, red, blue, green)
    assert histories(green) == [[("an answer to nothing", MessageKind.TEXT, 0)]]
    assert len([event for event in told if isinstance(event, events.Notice)]) == 3


def test_a_message_of_another_room_cannot_be_named(room: Room, tmp_path: Path) -> None:
    log, red, blue, green = room
    message = said(log, red, "here")
    alike(log, red, blue, green)
    elsewhere = Composer(b"s" * 16, red.account.verified.account)
    other = elsewhere.text("there")
    assert other.id != message
    with blue.store.transaction():
        there = HistoryLine(1, red.device, red.account.verified.account, "red", other.id, "there", 5)
        blue.store.add_message(b"s" * 16, there)
    does(log, red, red.room.composer.text("changed", replaces=other.id))
    deliver(log, red, blue)
    assert only(blue.store.history(b"s" * 16)).text == "there"
    assert [line.text for line in blue.store.history(blue.room.id)] == ["here"]


def test_a_message_sent_again_is_there_once(room: Room) -> None:
    log, red, blue, green = room
    item = red.room.composer.text("once")
    does(log, red, item)
    deliver(log, red)
    does(log, red, item)
    edit = red.room.composer.text("twice", replaces=item.id)
    does(log, red, edit)
    deliver(log, red)
    does(log, red, edit)
    alike(log, red, blue, green)
    assert histories(green) == [[("twice", MessageKind.TEXT, 1)]]


def test_what_this_version_cannot_show_is_there_as_that(room: Room) -> None:
    log, red, blue, green = room
    item = red.room.composer.text("unknown")
    content = Outgoing(item.id, ContentKind.UNKNOWN, _with_type(item.data), "")
    does(log, red, content)
    (message,) = [event for event in alike(log, red, blue, green) if isinstance(event, events.Message)]
    assert (message.kind, message.text) == (MessageKind.UNKNOWN, "")
    assert [line.kind for line in blue.store.history(blue.room.id)] == [MessageKind.UNKNOWN]


def _with_type(data: bytes) -> bytes:
    """Return a content with another media type, of as many characters."""
    assert b"text/plain" in data
    return data.replace(b"text/plain", b"text/zzzzz")


def test_a_mention_is_of_an_account_and_shown_by_its_name_here(room: Room) -> None:
    log, red, blue, green = room
    does(log, red, red.room.composer.text("look here, @green"))
    item = red.room.composer.text("see @green **now**")
    spoofed = item.data.replace(b"@green", b"@blue!")  # another's name as the words of the mention
    assert spoofed != item.data
    does(log, red, Outgoing(item.id, ContentKind.TEXT, spoofed, "see"))
    told = alike(log, red, blue, green)
    messages = [event for event in told if isinstance(event, events.Message)]
    assert [event.text for event in messages] == ["look here, @green", "see @green now"]
    assert [event.mentions_me for event in messages] == [True, True]
    assert [line.mentions_me for line in blue.store.history(blue.room.id)] == [False, False]


def test_a_mention_of_somebody_who_left_is_shown_as_that(room: Room) -> None:
    log, red, blue, green = room
    compose = Composer(red.room.id, red.account.verified.account, {"white": b"w" * 32})
    does(log, red, compose.text("where is @white?"))
    alike(log, red, blue, green)
    assert only(blue.store.history(blue.room.id)).text == "where is @white (not here)?"


def test_a_source_with_very_many_marks_is_shown_as_it_is(room: Room) -> None:
    log, red, blue, green = room
    text = "**a** " * 5000
    does(log, red, red.room.composer.text(text))
    alike(log, red, blue, green)
    line = only(blue.store.history(blue.room.id))
    assert (line.text, line.markup) == (text, "")


def test_what_a_blocked_account_says_is_shown_once_that_ends(room: Room) -> None:
    log, red, blue, green = room
    before = said(log, red, "before")
    alike(log, red, blue, green)
    with green.store.transaction():
        green.store.block(red.account.verified.account, "red")
    assert green.store.history(green.room.id) == [], "and what was said before is not shown"
    said(log, red, "unseen")
    does(log, red, red.room.composer.text("unseen too", replaces=before))
    message = said(log, blue, "seen")
    does(log, red, red.room.composer.reaction(message, "+1"))
    deliver(log, red, blue)
    (result,) = deliver(log, green)
    assert [type(event) for event in result.events] == [events.Message]
    assert [line.text for line in green.store.history(green.room.id)] == ["seen"]
    assert green.store.reactions(green.room.id, message) == []
    green.store.unblock(red.account.verified.account)
    assert [line.text for line in green.store.history(green.room.id)] == ["unseen too", "unseen", "seen"]
    assert [each.name for each in green.store.reactions(green.room.id, message)] == ["red"]
    assert histories(green) == histories(red), "blocking changes nothing but what is shown"
    assert green.room.head == red.room.head


# --- expiry ---


def test_an_expiry_begins_when_the_message_was_read(room: Room) -> None:
    log, red, blue, green = room
    does(log, red, red.room.composer.text("seen for a minute", expires=Expiration(relative=True, time=60)))
    alike(log, red, blue, green)
    start = round(blue.room.clock() * 1000)
    assert red.store.next_expiry == start + 60_000, "who said it has read it"
    assert blue.store.next_expiry == 0
    seq = only(blue.store.history(blue.room.id)).seq
    blue.room.mark_shown(seq, until=True)
    assert blue.store.next_expiry == start + 60_000
    assert expire_messages(blue.store, start + 59_999) == []
    (expired,) = expire_messages(blue.store, start + 60_000)
    assert expired.seqs == (seq,)
    assert blue.store.history(blue.room.id) == []
    assert blue.store.next_expiry == 0


def test_an_absolute_expiry_in_the_past_shows_nothing_and_one_far_off_is_refused(room: Room) -> None:
    log, red, blue, green = room
    day = 86_400
    for time in (NOW - day, NOW - 400 * day, NOW + 400 * day, 0, 2**32 - 1):
        does(log, red, red.room.composer.text("never", expires=Expiration(relative=False, time=int(time))))
        deliver(log, blue, green)
    for member in (blue, green):
        assert member.store.history(member.room.id) == []
    assert green.room.head == red.room.head


def test_an_edit_can_only_shorten_an_expiry(room: Room) -> None:
    log, red, blue, _ = room
    day = 86_400
    soon, later = (
        Expiration(relative=False, time=int(NOW) + day),
        Expiration(relative=False, time=int(NOW) + 9 * day),
    )
    message = does(log, red, red.room.composer.text("one", expires=soon))
    does(log, red, red.room.composer.text("two", replaces=message, expires=later))
    deliver(log, red, blue)
    assert blue.store.next_expiry == (int(NOW) + day) * 1000
    assert only(blue.store.history(blue.room.id)).text == "two"


def test_a_time_after_reading_does_not_outlast_an_end_that_an_edit_set(room: Room) -> None:
    log, red, blue, _ = room
    hour, minute = Expiration(relative=True, time=3600), Expiration(relative=False, time=int(NOW) + 60)
    message = does(log, red, red.room.composer.text("one", expires=hour))
    does(log, red, red.room.composer.text("two", replaces=message, expires=minute))
    deliver(log, red, blue)
    blue.room.mark_shown(only(blue.store.history(blue.room.id)).seq, until=True)
    assert [member.store.next_expiry for member in (red, blue)] == [(int(NOW) + 60) * 1000] * 2


def test_a_time_after_reading_in_an_edit_is_none(room: Room) -> None:
    log, red, blue, _ = room
    message = said(log, red, "one")
    soon = Expiration(relative=True, time=5)
    does(log, red, red.room.composer.text("two", replaces=message, expires=soon))
    deliver(log, red, blue)
    blue.room.mark_shown(only(blue.store.history(blue.room.id)).seq, until=True)
    assert [member.store.next_expiry for member in (red, blue)] == [0, 0]


# --- receipts ---


def test_receipts_are_due_once_and_counted_by_account(room: Room) -> None:
    log, red, blue, green = room
    message = said(log, red, "did you get this?")
    deliver(log, red, blue, green)
    for member in (blue, green):
        assert member.store.has_due_receipts(member.room.id)
        assert member.room.enqueue_receipts()
        assert not member.room.enqueue_receipts()
        log.append(member, member.room.prepare_messages()[0])
    (told, *_) = deliver(log, red, blue, green)
    assert [type(event) for event in told.events] == [events.StatusChanged] * 2
    assert set(red.store.receipts(red.room.id, message).values()) == {MessageStatus.DELIVERED}
    assert not red.store.has_due_receipts(red.room.id), "nobody answers receipts"


def test_what_was_read_is_told_only_if_wanted(room: Room) -> None:
    log, red, blue, green = room
    message = said(log, red, "did you read this?")
    deliver(log, red, blue, green)
    green.store.set_room_setting(green.room.id, "read receipts", "yes")
    for member in (blue, green):
        member.room.mark_shown(only(member.store.history(member.room.id)).seq, until=True)
        member.room.enqueue_receipts()
        log.append(member, member.room.prepare_messages()[0])
    deliver(log, red)
    states = red.store.receipts(red.room.id, message)
    assert states[blue.account.verified.account] == MessageStatus.DELIVERED
    assert states[green.account.verified.account] == MessageStatus.READ


def test_receipts_for_others_messages_count_for_nothing(room: Room) -> None:
    log, red, blue, green = room
    message = said(log, red, "mine")
    deliver(log, red, blue, green)
    does(log, green, green.room.composer.statuses([(message, MessageStatus.READ)]))
    deliver(log, blue)
    assert blue.store.rows("SELECT count(*) FROM receipts") == [(0,)]
