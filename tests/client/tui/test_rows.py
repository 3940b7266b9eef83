"""The loaded rows of a message list: what stands in which line, and what changes around it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from clave_client.events import Person
from clave_client.rpc.values import HistoryMessage
from clave_client.tui.rows import Row, Rows
from clave_client.ui.display import clock_text, date_text, plain

RED = Person("red", b"r" * 32, "main", b"d" * 32, verified=True)
NOON = 1_800_000_000.0
DAY = 86_400.0


def message(number: int, text: str = "hello", day: int = 0) -> HistoryMessage:
    return HistoryMessage(number, RED, False, number.to_bytes(32, "big"), text, NOON + day * DAY, number)


def rows(*messages: HistoryMessage) -> list[Row]:
    return [Row.of(each, me=b"", names={}) for each in messages]


def lines(shown: Rows) -> list[str]:
    return [plain(shown.line(number)) for number in range(shown.height)]


def days(shown: Rows) -> list[str]:
    return [line for line in lines(shown) if line.startswith("---")]


def filled(messages: Iterable[HistoryMessage], width: int = 40) -> Rows:
    shown = Rows(width)
    shown.append(rows(*messages))
    return shown


def test_a_message_takes_as_many_lines_as_it_needs_and_outside_there_is_nothing() -> None:
    shown = filled([message(1, "one two three four five six seven eight nine ten")], width=20)
    text = lines(shown)
    assert len(text) == shown.height > 4
    assert text[0].startswith("---")
    start = next(number for number, line in enumerate(text) if line.startswith("red  "))
    assert text[start + 1 :] == ["  one two three four", "  five six seven", "  eight nine ten"]
    assert (shown.line(-1), shown.line(shown.height)) == ([], [])


def test_each_day_has_one_line_also_when_earlier_messages_come() -> None:
    shown = filled([message(3), message(4, day=1)])
    assert len(days(shown)) == 2
    before = shown.height
    added = shown.prepend(rows(message(1, day=-1), message(2)))
    assert len(days(shown)) == 3
    assert added == shown.height - before
    shown.append(rows(message(5, day=1)))
    assert len(days(shown)) == 3


@given(
    st.integers(1, 60),
    st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.text(max_size=30)), max_size=30),
)
def test_what_was_there_moves_by_what_came_above_it(width: int, steps: list[tuple[bool, int, str]]) -> None:
    shown = filled([message(1000)], width)
    last = 1000
    for older, count, text in steps:
        kept = shown.row_at(shown.height - 1)
        assert kept is not None
        end = shown.start_of(kept) + len(kept.wrapped(width))
        if older:
            assert shown.first is not None
            first = shown.first.number - count
            moved = shown.prepend(rows(*(message(first + n, text) for n in range(count))))
        else:
            shown.append(rows(*(message(last + 1 + n, text) for n in range(count))))
            last += count
            moved = shown.trim_start(20)
        assert shown.start_of(kept) + len(kept.wrapped(width)) == end + moved
    numbers = [row.message.number for row in shown._rows if row.message is not None]
    assert numbers == list(range(numbers[0], last + 1))


def test_a_name_stands_once_above_what_its_person_says_in_a_row() -> None:
    blue = Person("blue", b"b" * 32, "main", b"e" * 32, verified=False)
    theirs = HistoryMessage(3, blue, False, b"3" * 32, "three", NOON + 3, 3)
    late = HistoryMessage(5, RED, False, b"5" * 32, "five", NOON + 5000, 5)
    shown = filled([message(1, "one"), message(2, "two"), theirs, message(4, "four"), late])
    words = [line.split("  ")[0] or line.strip() for line in lines(shown)[1:]]
    assert words == ["red", "one", "two", "blue (unverified)", "three", "red", "four", "red", "five"]
    shown.prepend(rows(message(0, "zero")))
    assert [line.strip() for line in lines(shown)[2:5]] == ["zero", "one", "two"]
    assert lines(shown)[1].startswith("red")
    shown.trim_start(len(shown) - 3)
    assert lines(shown)[0].startswith("red"), "the first row has its name"


def test_no_text_can_pose_as_a_name() -> None:
    shown = filled([message(1, "one\nblue  12:00\n  sent by nobody")])
    said = lines(shown)[2:]
    assert all(line.startswith("  ") for line in said)


def test_what_became_of_an_own_message_stands_behind_it() -> None:
    def last_line(delivered: int = 0, read: int = 0) -> str:
        said = HistoryMessage(1, RED, True, b"1" * 32, "hello", NOON, 1)
        said = msgspec.structs.replace(said, others=2, delivered=delivered, read=read)
        return lines(filled([said]))[-1]

    assert last_line() == "  hello"
    assert last_line(delivered=1) == "  hello  received by 1"
    assert last_line(delivered=2, read=1) == "  hello  read by 1"
    assert last_line(delivered=2, read=2) == "  hello  read"


def test_a_message_says_when_it_disappears() -> None:
    soon, later, unread = (
        msgspec.structs.replace(message(1), expires_at=NOON + 3600),
        msgspec.structs.replace(message(2), expires_at=NOON + 2 * DAY),
        msgspec.structs.replace(message(3), expires_after=3600),
    )
    at, on, after = (lines(filled([each]))[2] for each in (soon, later, unread))
    assert at == f"  hello (disappears at {clock_text(NOON + 3600)})"
    assert on.startswith("  hello (disappears ")
    assert date_text(NOON + 2 * DAY).split()[0] in "".join(lines(filled([later], 100)))
    assert after == "  hello (disappears 1 hour after it is"


def test_a_changed_message_is_shown_as_it_is_now() -> None:
    shown = filled([message(1, "before"), message(2)])
    shown.replace(rows(message(1, "after"))[0])
    assert any("after" in line for line in lines(shown))
    assert not any("before" in line for line in lines(shown))


def test_another_width_wraps_anew() -> None:
    shown = filled([message(1, "one two three four five six seven eight nine ten")], width=80)
    wide = shown.height
    shown.resize(20)
    assert shown.height > wide
    shown.resize(80)
    assert shown.height == wide
