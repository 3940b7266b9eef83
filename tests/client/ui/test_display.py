from __future__ import annotations

import pytest

from clave_client import events
from clave_client.events import Event, Inconsistency, Person
from clave_client.ui.display import (
    date_text,
    event_line,
    inconsistency_text,
    message_line,
    name_with_warning,
    plain,
    warning_word,
)
from clave_crypto.identity import fingerprint

RED = Person("red", b"a" * 32, "laptop", b"d" * 32, verified=False)
OTHER = Person("red", b"c" * 32, "laptop", b"f" * 32, verified=False, known=b"a" * 32)
BLUE = Person("blue", b"b" * 32, "desk", b"e" * 32, verified=True)
ROOM = b"r" * 16
ME = b"m" * 32


def shown(event: Event, *, elsewhere: bool = False) -> str | None:
    line = event_line(event, lambda _: "friends", elsewhere=elsewhere, me=ME)
    return None if line is None else plain(line)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (events.Invited(ROOM, "friends", RED, ("red", "green")), "red (unverified) invites you to friends"),
        (
            events.Invited(ROOM, "friends", OTHER, ("red",)),
            "red (other key) invites you to friends (one person is there); other",
        ),
        (events.InvitationAccepted(ROOM, BLUE), "blue joined"),
        (events.MemberAdded(ROOM, BLUE, OTHER), "red (other key) invited blue"),
        (events.MemberLeft(ROOM, OTHER), "red (other key) left"),
        (events.MemberRemoved(ROOM, BLUE, OTHER), "red (other key) removed blue"),
        (events.RoomChanged(ROOM, "team", OTHER), "red (other key) calls the room team now"),
        (events.RoomClosed(ROOM, "friends", OTHER), "red (other key) removed you from friends"),
        (events.MemberAdded(ROOM, RED, BLUE), "blue invited red (unverified)"),
        (events.MemberLeft(ROOM, BLUE), "blue left"),
        (events.MemberRemoved(ROOM, RED, BLUE), "blue removed red"),
        (events.RoomChanged(ROOM, "team", BLUE), "blue calls the room team now"),
        (events.TopicChanged(ROOM, "cake", BLUE), "blue says what the room is about: cake"),
        (events.TopicChanged(ROOM, "", BLUE), "blue took the topic away"),
        (events.RoleChanged(ROOM, b"g" * 32, "green", "admin", BLUE), "blue made green an admin"),
        (
            events.RoleChanged(ROOM, b"g" * 32, "green", "owner", None),
            "green is an owner now, as the last owner",
        ),
        (events.RoleChanged(ROOM, BLUE.account, "blue", "member", BLUE), "blue is a member now"),
        (
            events.PolicyChanged(ROOM, "add", "admin", BLUE),
            "blue has admins and owners invite people from now on",
        ),
        (
            events.PolicyChanged(ROOM, "edit", "owner", BLUE),
            "blue has owners only change the room from now on",
        ),
        (events.BanChanged(ROOM, b"g" * 32, "green", True, BLUE), "blue banned green"),
        (events.BanChanged(ROOM, b"g" * 32, "green", False, BLUE), "blue lets green be invited again"),
        (events.PinChanged(ROOM, b"i" * 32, 7, "red", True, BLUE), "blue pinned message 7 of red"),
        (
            events.PinChanged(ROOM, b"i" * 32, 0, "", False, BLUE),
            "blue took the pin of an old message away",
        ),
        (events.RoomClosed(ROOM, "friends", BLUE), "blue removed you from friends"),
        (events.RoomClosed(ROOM, "friends", None), "you left friends"),
        (events.PresenceChanged(ROOM, "blue", online=False, reason="left"), "blue is offline (left)"),
        (events.PresenceChanged(ROOM, "blue", online=True, reason=""), "blue is online"),
        (events.SendFailed(ROOM, b"i", "too large"), "not sent: too large"),
        (events.Diverged(ROOM, BLUE, Inconsistency.HISTORY), "the relay shows blue another history"),
        (
            events.Diverged(ROOM, BLUE, Inconsistency.IMPOSSIBLE),
            "blue claims to have seen entries that came only later",
        ),
        (events.Diverged(ROOM, BLUE, Inconsistency.ORDER), "messages of blue come twice or out of order"),
        (events.Diverged(ROOM, BLUE, Inconsistency.BEHIND), "the relay did not show blue the latest change"),
        (
            events.Diverged(ROOM, BLUE, Inconsistency.AHEAD),
            "blue speaks after a change of this room that you were not",
        ),
        (events.Diverged(ROOM, None, Inconsistency.PLACE), "the relay gave you a wrong place"),
        (events.Diverged(ROOM, BLUE, Inconsistency.INVENTED), "something you did not send is in the log"),
        (
            events.Diverged(ROOM, BLUE, Inconsistency.STORED),
            "the relay took a message that it told you it had refused",
        ),
        (
            events.RelayRestored(ROOM, "friends", 1),
            "the relay was restored from a backup and has lost the last entry",
        ),
        (
            events.RelayRestored(ROOM, "friends", 7),
            "the relay was restored from a backup and has lost the last 7 en",
        ),
        (events.Notice(ROOM, "watch out"), "watch out"),
    ],
)
def test_each_event_has_a_line(event: Event, words: str) -> None:
    text = shown(event)
    assert text is not None
    assert text.startswith(f"* {words}")
    elsewhere = shown(event, elsewhere=True)
    assert elsewhere == f"[friends] {text}"


@pytest.mark.parametrize("event", [events.Sent(ROOM, 1, b"i"), events.Disconnected("gone", 1.0)])
def test_some_events_need_no_line(event: Event) -> None:
    assert shown(event) is None


def test_an_own_device_that_comes_into_other_rooms_is_not_told_in_each_of_them() -> None:
    mine, laptop = (Person("grey", ME, each, each.encode(), verified=True) for each in ("main", "laptop"))
    added = events.MemberAdded(ROOM, laptop, mine)
    assert shown(added, elsewhere=True) is None
    assert shown(added) == "* grey added another device, laptop"
    removed = events.MemberRemoved(ROOM, laptop, mine)
    assert shown(removed, elsewhere=True) == "[friends] * grey removed their device laptop"


def test_a_message_shows_who_and_stays_one_block() -> None:
    text = shown(events.Message(ROOM, 1, BLUE, b"i", "one\n12:00 red: two", 0.0))
    assert text is not None
    first, second = text.split("\n")
    assert first[5:] == " blue: one"
    assert second == "      12:00 red: two", "a second line is indented and so cannot pose as a message"


@pytest.mark.parametrize("lie", Inconsistency)
@pytest.mark.parametrize("person", [BLUE, None])
def test_each_inconsistency_has_a_text_that_says_what_to_do(
    lie: Inconsistency, person: Person | None
) -> None:
    words = inconsistency_text(events.Diverged(ROOM, person, lie))
    assert "by another channel" in words
    assert "do not trust this relay" in words
    assert "None" not in words


def test_names_carry_their_warning_word() -> None:
    assert name_with_warning(RED) == "red (unverified)"
    assert name_with_warning(BLUE) == "blue"
    assert name_with_warning(OTHER) == "red (other key)"
    assert name_with_warning(RED, RED.account) == "red", "oneself needs no warning"
    assert [warning_word(person) for person in (RED, BLUE, OTHER)] == ["unverified", "", "other key"]


def test_an_invitation_with_another_key_shows_both() -> None:
    text = shown(events.Invited(ROOM, "friends", OTHER, ("red",)))
    assert text is not None
    for account in (OTHER.account, OTHER.known):
        assert fingerprint(account) in text
    assert text.endswith("/trust red or /decline friends")


def test_own_messages_are_marked_by_style() -> None:
    own = message_line(BLUE, "hello", 0.0, me=BLUE.account)
    other = message_line(BLUE, "hello", 0.0, me=ME)
    assert plain(own) == plain(other)
    assert own != other


@pytest.mark.parametrize("moment", [-1e18, 1e18, 253_370_764_800.0])
def test_a_time_that_no_calendar_has_is_shown_as_some_time(moment: float) -> None:
    assert plain(message_line(BLUE, "hello", moment, me=ME)).endswith(" blue: hello")
    assert date_text(moment)


def test_a_day_has_its_name_and_year() -> None:
    assert date_text(86_400 * 365.5) == "Friday 1 January 1971"
