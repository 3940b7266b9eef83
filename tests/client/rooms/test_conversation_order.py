"""All members come to the same history, in whatever order they get to read what changes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clave_client.events import MessageKind
from clave_client.formats.composing import Outgoing
from clave_client.formats.content import ContentKind
from clave_client.formats.mimi.content import Expiration, MimiContent, NullPart, encode_mimi
from clave_client.rooms.expiring import expire_messages
from clave_client.store.conversation_tables import MOST_EARLY
from client.memory_relay import NOW, Member, deliver, in_one_room, rekey, resume, settle
from client.rooms.test_local_room import FIRST, comes_back, loses
from client.rooms.test_message_effects import does, histories, said

TABLES = ("messages", "versions", "sent", "outbox", "events", "typed_lines")


def traces(member: Member) -> set[str]:
    """Return the tables in which the canary is."""
    found = set()
    for table in TABLES:
        if "canary" in repr(member.store.rows(f"SELECT * FROM {table}")):  # noqa: S608 (constant names)
            found.add(table)
    return found


def test_changes_in_an_epoch_that_was_not_confirmed_count_in_the_order_of_the_log(tmp_path: Path) -> None:
    log, (red, twin, blue, green) = in_one_room(tmp_path, "red", "red/desk", "blue", "green")
    message = said(log, red, "zero")
    deliver(log, red, twin, blue, green)
    rekey(log, red, green)
    deliver(log, red)
    does(log, red, red.room.composer.text("by the first device", replaces=message))
    does(log, twin, twin.room.composer.text("by the other device", replaces=message))
    deliver(log, red, twin, blue)
    settle(log, red, twin, blue)
    first, second, third = histories(red, twin, blue)
    assert first == second == third


def test_a_removal_and_a_deletion_at_once_are_the_same_at_all(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    message = said(log, blue, "zero")
    deliver(log, red, blue, green)
    rekey(log, red, green)
    deliver(log, red)
    does(log, red, red.room.composer.deletion(message))
    does(log, blue, blue.room.composer.deletion(message))
    deliver(log, red, blue)
    settle(log, red, blue)
    at_red, at_blue = (member.store.history(member.room.id) for member in (red, blue))
    assert [(line.kind, line.by) for line in at_red] == [(line.kind, line.by) for line in at_blue]


def test_an_edit_that_comes_again_counts_again(tmp_path: Path) -> None:
    """Else who read only the second copy would have another text than who read both."""
    log, (red, twin, blue) = in_one_room(tmp_path, "red", "red/desk", "blue")
    message = said(log, red, "zero")
    first = red.room.composer.text("one", replaces=message)
    does(log, red, first)
    deliver(log, red, twin, blue)
    does(log, twin, twin.room.composer.text("two", replaces=message))
    deliver(log, red, twin, blue)
    does(log, red, first)
    deliver(log, red, twin, blue)
    for member in (red, twin, blue):
        (line,) = member.store.history(member.room.id)
        assert (line.text, line.edits) == ("one", 2)
        kept = [version.text for version in member.store.versions(member.room.id, message)]
        assert kept == ["zero", "two"]


def test_no_clock_decides_whether_a_change_counts(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    message = said(log, red, "zero")
    deliver(log, red, blue, green)
    far = Expiration(relative=False, time=int(NOW) + 366 * 86_400 + 30)
    data = encode_mimi(MimiContent(b"s" * 16, NullPart(), replaces=message, expires=far))
    does(log, red, Outgoing(b"\x01" * 32, ContentKind.DELETION, data, "", message))
    green.room.clock = lambda: NOW + 60
    deliver(log, blue, green)
    at_blue, at_green = histories(blue, green)
    assert at_blue == at_green


def test_an_own_twins_acceptance_is_not_the_other_persons(tmp_path: Path) -> None:
    log, (red, twin, blue) = in_one_room(tmp_path, "red", "red/desk", "blue")
    accounts = b"".join(sorted(each.account.verified.account for each in (red, blue))).hex()
    for member in (red, twin, blue):
        member.store.set_room_setting(member.room.id, "direct", accounts)
    does(log, twin, twin.room.composer.joined())
    deliver(log, red)
    assert not red.room.is_joint
    does(log, blue, blue.room.composer.joined())
    deliver(log, red)
    assert red.room.is_joint


# --- nothing of what is gone comes back ---


def test_what_expired_while_it_waited_to_be_sent_again_is_not_sent(tmp_path: Path) -> None:
    log, (red, _) = in_one_room(tmp_path, "red", "blue")
    does(log, red, red.room.composer.text("canary", expires=Expiration(relative=True, time=10)))
    deliver(log, red)
    with red.room.changing():
        red.room.resend_after(0)
    expire_messages(red.store, round((NOW + 20) * 1000))
    assert traces(red) == set()
    settle(log, red)
    assert not red.room.outbox
    assert len(log.since(red)) == 0


def test_what_expired_on_its_way_again_leaves_nothing(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    does(log, red, red.room.composer.text("canary", expires=Expiration(relative=True, time=10)))
    deliver(log, red)
    with red.room.changing():
        red.room.resend_after(0)
    (submit,) = red.room.prepare_messages()
    expire_messages(red.store, round((NOW + 20) * 1000))
    log.append(red, submit)
    deliver(log, red, blue)
    assert traces(red) == set()
    assert not red.room.outbox


def test_an_edit_of_what_was_removed_meanwhile_leaves_nothing(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    message = said(log, blue, "one")
    deliver(log, red, blue)
    blue.room.enqueue(blue.room.composer.text("canary", replaces=message))
    does(log, red, red.room.composer.deletion(message))
    (submit,) = blue.room.prepare_messages()
    log.append(blue, submit)
    deliver(log, red, blue)
    assert traces(blue) == set()


def test_a_late_message_that_was_deleted_is_not_counted_as_new(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    rekey(log, red)
    deliver(log, red, blue, green)
    message = said(log, red, "late")
    deliver(log, red, blue, green)
    settle(log, red, blue, green)
    assert blue.store.unread_counts(blue.room.account)[blue.room.id] == (1, 0)
    blue.restarts()
    assert blue.store.unread_counts(blue.room.account)[blue.room.id] == (1, 0)
    with blue.store.transaction():
        blue.store.erase_message(blue.room.id, message, MessageKind.DELETED)
    assert blue.store.unread_counts(blue.room.account).get(blue.room.id) is None


def test_a_relative_expiry_of_nothing_is_one_of_a_second(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    does(log, red, red.room.composer.text("canary", expires=Expiration(relative=True, time=0)))
    deliver(log, red, blue)
    blue.room.mark_shown(blue.room.history_seq(len(log.entries)), until=True)
    expire_messages(blue.store, round((NOW + 1) * 1000))
    assert traces(blue) == set()


# --- after the relay lost entries ---


@pytest.mark.parametrize("kind", ["react", "remove", "edit"])
def test_a_change_that_comes_before_its_message_is_made_once_that_comes(tmp_path: Path, kind: str) -> None:
    """Green reads only the log after the restore, in which the message is sent again after the change."""
    log, (red, twin, blue, green) = in_one_room(tmp_path, "red", "red/desk", "blue", "green")
    for member in (red, twin, blue, green):
        resume(member, log, FIRST)
    author, changer = (twin, red) if kind == "edit" else (blue, red)
    message = said(log, author, "canary zero")
    deliver(log, red, twin, blue)
    change = {
        "react": red.room.composer.reaction(message, "+1"),
        "remove": red.room.composer.deletion(message),
        "edit": red.room.composer.text("one", replaces=message),
    }[kind]
    does(log, changer, change)
    deliver(log, red)
    loses(log, 0)
    for member in (changer, author, green):
        comes_back(log, member, 0)
    for member, (submit,) in [(member, member.room.prepare_messages()) for member in (changer, author)]:
        log.append(member, submit)
    deliver(log, green, red)
    ((line,), (expected,)) = green.store.history(green.room.id), red.store.history(red.room.id)
    assert (line.text, line.kind, line.by) == (expected.text, expected.kind, expected.by)
    emoji = [
        [each.reaction for each in member.store.reactions(member.room.id, message)] for member in (red, green)
    ]
    assert emoji == [["+1"] if kind == "react" else []] * 2
    assert green.store.rows("SELECT * FROM early_changes") == []
    if kind == "remove":
        assert "messages" not in traces(green)


@pytest.mark.parametrize("kind", ["react", "remove"])
def test_who_was_away_since_before_the_backup_keeps_early_changes_too(tmp_path: Path, kind: str) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    for member in (red, blue, green):
        resume(member, log, FIRST)
    kept = len(log.entries)
    message = said(log, blue, "zero")
    deliver(log, red, blue)
    composer = red.room.composer
    does(log, red, composer.reaction(message, "+1") if kind == "react" else composer.deletion(message))
    deliver(log, red)
    loses(log, kept)
    for member in (red, blue, green):
        comes_back(log, member, kept)
    assert green.room.record.era == 0
    for member, (submit,) in [(member, member.room.prepare_messages()) for member in (red, blue)]:
        log.append(member, submit)
    deliver(log, green, red, blue)
    reactions = [
        [each.reaction for each in member.store.reactions(member.room.id, message)]
        for member in (red, blue, green)
    ]
    assert reactions == [["+1"] if kind == "react" else []] * 3
    kinds = [member.store.history(member.room.id)[0].kind for member in (red, blue, green)]
    assert kinds == [MessageKind.TEXT if kind == "react" else MessageKind.REMOVED] * 3


def test_changes_of_what_never_comes_are_kept_in_bounds(tmp_path: Path) -> None:
    people = in_one_room(tmp_path, "red", "blue", "green", "black", "white", "grey")
    log, (red, *others) = people
    red.room.set(era=1)
    for member in others:
        for number in range(60):
            does(log, member, member.room.composer.reaction(b"\x01" + number.to_bytes(31), "+1"))
            deliver(log, member)
        deliver(log, red)
    counts = red.store.rows("SELECT account, count(*) FROM early_changes GROUP BY account")
    accounts = [member.account.verified.account for member in others]
    assert sorted(counts) == [(account, 50) for account in sorted(accounts[1:])]
    assert MOST_EARLY == 4 * 50
    kept = red.store.rows("SELECT target FROM early_changes WHERE account = ? ORDER BY place", accounts[-1])
    assert [row[0] for row in kept] == [b"\x01" + number.to_bytes(31) for number in range(10, 60)]
    assert red.store.history(red.room.id) == []


def test_an_edit_of_what_is_deleted_before_it_comes_is_not_kept(tmp_path: Path) -> None:
    log, (red, blue, green) = in_one_room(tmp_path, "red", "blue", "green")
    message = said(log, red, "zero")
    changes = [
        (red, red.room.composer.text("canary", replaces=message)),
        (blue, blue.room.composer.deletion(message)),
        (red, red.room.composer.deletion(message)),
    ]
    for place, (member, change) in enumerate(changes, 1):
        account = member.account.verified.account
        green.store.add_early(green.room.id, message, place, account, change.kind, change.data)
    kept = [data for _, data in green.store.take_early(green.room.id, message)]
    assert kept == [change.data for _, change in changes[1:]]


def test_a_change_on_its_way_counts_after_an_earlier_one_that_is_sent_again(tmp_path: Path) -> None:
    log, people = in_one_room(tmp_path, "red", "blue", "green")
    red = people[0]
    message = said(log, red, "zero")
    deliver(log, *people)
    does(log, red, red.room.composer.text("one", replaces=message))
    reaction = does(log, red, red.room.composer.reaction(message, "+1"))
    deliver(log, *people)
    red.room.enqueue(red.room.composer.text("two", replaces=message))
    red.room.enqueue(red.room.composer.deletion(reaction))
    on_their_way = red.room.prepare_messages()
    with red.room.changing():
        red.room.resend_after(0)
    for submit in on_their_way:
        log.append(red, submit)
    deliver(log, *people)
    settle(log, *people)
    assert [each[0][0] for each in histories(*people)] == ["two"] * 3
    assert [member.store.reactions(member.room.id, message) for member in people] == [[]] * 3


def test_what_waits_about_a_message_hidden_here_is_sent_to_the_others(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    message = said(log, red, "zero")
    deliver(log, red, blue)
    red.room.enqueue(red.room.composer.text("mended", replaces=message))
    with red.store.transaction():
        red.store.erase_message(red.room.id, message, MessageKind.HIDDEN)
    settle(log, red, blue)
    assert blue.texts() == ["mended"]
    assert red.texts() == []
    assert "mended" not in repr([red.store.rows(f"SELECT * FROM {table}") for table in TABLES])  # noqa: S608


def test_what_was_said_in_a_lost_epoch_and_hidden_here_is_said_again(tmp_path: Path) -> None:
    log, (red, blue, green, grey) = in_one_room(tmp_path, "red", "blue", "green", "grey")
    rekey(log, red, grey)
    deliver(log, red)
    message = said(log, red, "to all")
    deliver(log, red)
    with red.store.transaction():
        red.store.erase_message(red.room.id, message, MessageKind.HIDDEN)
    rekey(log, blue)
    settle(log, red, blue, green)
    assert blue.texts() == green.texts() == ["to all"]
    assert red.texts() == []
