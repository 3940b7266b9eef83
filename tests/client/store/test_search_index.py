"""The full-text index: what is found, that nothing else can be asked, and that what is erased is gone."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clave_client.events import MessageKind
from clave_client.store import schema
from clave_client.store.database import Store
from clave_client.store.message_tables import HistoryLine
from clave_client.store.schema import MIGRATIONS
from clave_client.store.search_index import MOST_VISITS, SEARCH_SCHEMA, index_all
from clave_client.store.search_words import MOST_INDEXED, MOST_MARKS, spaced
from clave_crypto.keys import Secret

ROOM = b"r" * 16
OTHER = b"o" * 16
KEY = Secret(b"k" * 32)
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path, KEY)
    yield store
    store.close()


def message(seq: int, text: str, *, by: str = "red", sent_at: int = 1000) -> HistoryLine:
    device = by.encode().ljust(32)
    return HistoryLine(seq, device, device, by, os.urandom(32), text, sent_at)


def say(store: Store, *texts: str, room: bytes = ROOM, by: str = "red") -> list[bytes]:
    """Store messages and return their ids."""
    first = store.integer("SELECT max(row) FROM messages") + 1
    lines = [message(seq, text, by=by) for seq, text in enumerate(texts, start=first)]
    with store.transaction():
        for line in lines:
            assert store.add_message(room, line)
    return [line.id for line in lines]


def found(store: Store, words: str, **options: object) -> list[str]:
    """Return the texts that a search finds, newest first."""
    rows, _ = store.index.find(store.index.words(words), **options)  # type: ignore[arg-type]
    return [line.text for _, _, line in store.lines_at(rows)]


def marked(store: Store, words: str, text: str) -> list[str]:
    return [text[start:end] for start, end in store.index.words(words).marks(text)]


@pytest.mark.parametrize(
    ("text", "words", "marks"),
    [
        ("Hello World", "hello", ["Hello"]),
        ("Hello World", "world HELLO", ["Hello", "World"]),
        ("the caf\u00e9 is open", "cafe", ["caf\u00e9"]),
        ("the cafe\u0301 is open", "caf\u00e9", ["cafe\u0301"]),
        ("Ti\u1ebfng Vi\u1ec7t", "tieng viet", ["Ti\u1ebfng", "Vi\u1ec7t"]),
        ("\u6211\u4eca\u5929\u53bb\u5317\u4eac", "\u5317\u4eac", ["\u5317\u4eac"]),
        ("\u6211\u4eca\u5929\u53bb\u5317\u4eac", "\u53bb", ["\u53bb"]),
        ("\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8", "\u8a9e\u306e\u30c6", ["\u8a9e\u306e\u30c6"]),
        ("PR\u3092review", "review", ["review"]),
        ("\ud55c\uad6d\uc5b4", "\uad6d\uc5b4", ["\uad6d\uc5b4"]),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", "\ud55c\uad6d", ["\u1112\u1161\u11ab\u1100\u116e\u11a8"]),
        ("\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22", "\u0e44\u0e17\u0e22", ["\u0e44\u0e17\u0e22"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u093f\u0928\u094d\u0926\u0940", None),
        ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u05e9\u05dc\u05d5\u05dd", None),
        ("\U00020000\U0002a6d6x", "\U0002a6d6", ["\U0002a6d6"]),
        ("great\U0001f44d\U0001f3fdwork", "\U0001f44d", ["\U0001f44d"]),
        ("great\U0001f44d\U0001f3fdwork", "\U0001f44d\U0001f3fd", ["\U0001f44d\U0001f3fd"]),
        ("great\U0001f44d\U0001f3fdwork", "\U0001f3fd", ["\U0001f3fd"]),
        (FAMILY, FAMILY, None),
        (FAMILY, "\U0001f469", ["\U0001f469"]),
        ("I \u2764\ufe0f it", "\u2764", ["\u2764\ufe0f"]),
        ("I \u2764 it", "\u2764\ufe0f", ["\u2764"]),
        ("\U0001f1e7\U0001f1e9\U0001f1ea\U0001f1f8", "\U0001f1ea\U0001f1f8", ["\U0001f1ea\U0001f1f8"]),
        (ENGLAND, ENGLAND, None),
        (ENGLAND, "\U0001f3f4", ["\U0001f3f4"]),
        ("1\ufe0f\u20e3 first", "1\ufe0f\u20e3", ["1\ufe0f\u20e3"]),
        ("\u00a9 2026", "\u00a9", ["\u00a9"]),
        ("an emoji of later \U0001fbf0\U0001faff", "\U0001faff", ["\U0001faff"]),
        ("a\0b", "b", ["b"]),
        ("\ue0b0 main", "\ue0b0", ["\ue0b0"]),
        ("say NEAR(a b) now", "near(a", ["NEAR(a"]),
        ("C++ and C#", "c++", ["C", "C"]),
        ("one one one", "one", ["one", "one", "one"]),
        ("a b a b a", 'a"b"a', None),
        ("a b c", "a a.b", ["a b"]),
    ],
)
def test_what_was_said_is_found_and_marked(
    store: Store, text: str, words: str, marks: list[str] | None
) -> None:
    say(store, "something else", text, "more")
    assert found(store, words) == [text]
    assert marked(store, words, text) == ([text] if marks is None else marks)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", "hell"),
        ("\u5317\u4e2c\u4eac", "\u5317\u4eac"),
        ("\U0001f1e7\U0001f1e9\U0001f1ea\U0001f1f8", "\U0001f1e9\U0001f1ea"),
        (SCOTLAND, ENGLAND),
        ("\U0001f44d", "\U0001f44d\U0001f3fd"),
        ("red blue", "red NOT blue"),
        ("red", "red OR blue"),
        ("red", "re*"),
        ("red blue", "words:red"),
        ("red", "red - blue"),
        ("red", "\ue000r1"),
        ("r1 s1", "^blue"),
    ],
)
def test_nothing_else_is_found(store: Store, text: str, words: str) -> None:
    say(store, text)
    assert found(store, words) == []


@pytest.mark.parametrize(
    "words", ["", " \n", "...", '"', "***", "\0", "\ue000", "\ufe0f", "\ud800", "(" * 9999]
)
def test_words_of_nothing_are_refused(store: Store, words: str) -> None:
    with pytest.raises(ValueError, match="say what to search for"):
        store.index.words(words)


@pytest.mark.parametrize("words", [" ".join(map(str, range(1000))), "\u5317" * 3333, "a." * 5000])
def test_a_search_has_a_bounded_number_of_words(store: Store, words: str) -> None:
    with pytest.raises(ValueError, match="words"):
        store.index.words(words)


def test_a_long_search_is_answered(store: Store) -> None:
    texts = ["x" * 3_000 + " y", "\u5317" * 400, " ".join(map(str, range(50)))]
    say(store, *texts)
    for text in texts:
        assert found(store, text) == [text]
        assert marked(store, text, text)


HOSTILE = [
    "NEAR(",
    "a AND",
    "a OR b NOT",
    "NOT",
    "-a",
    "{words}: a",
    "words : a",
    "^a",
    "a*",
    '"a',
    'a"',
    '""',
    "a + b",
    "'; --",
    'a\0"b',
    "(((",
    "\\",
    "%",
    "\ud83d x",
]


@pytest.mark.parametrize("words", HOSTILE)
def test_words_are_no_syntax(store: Store, words: str) -> None:
    text = f"before {words.encode(errors='replace').decode()} after"
    say(store, "before after", text)
    assert found(store, f"before {words} after") in ([text], [text, "before after"])


def test_the_longest_message_of_one_letter_is_found_and_removed(store: Store) -> None:
    text = "a" * 65_535
    (one,) = say(store, text)
    assert found(store, text[:MOST_INDEXED]) == [text]
    assert marked(store, text, text) == [text]
    store.erase_message(ROOM, one, MessageKind.DELETED)
    assert found(store, text[:MOST_INDEXED]) == []
    assert tokens(store) == set()


@pytest.mark.parametrize(
    "text", [" ".join(map(str, range(10_000))), "".join(map(chr, range(0x4E00, 0x9000)))]
)
def test_the_beginning_of_a_long_message_is_indexed(store: Store, text: str) -> None:
    (one,) = say(store, text)
    assert len(found(store, "42" if text.isascii() else "\u4e2a")) == 1
    assert len(tokens(store)) <= MOST_INDEXED + 2  # those of its room and sender
    store.erase_message(ROOM, one, MessageKind.DELETED)
    assert tokens(store) == set()


def test_marks_of_one_text_are_bounded(store: Store) -> None:
    assert len(store.index.words("a").marks("a " * 30_000)) == MOST_MARKS


def test_pages_follow_each_other(store: Store) -> None:
    say(store, *(f"word {number}" for number in range(45)))
    words, before, pages = store.index.words("word"), 2**63 - 1, []
    while before:
        rows, before = store.index.find(words, before=before, limit=20)
        pages.append(rows)
    assert pages == [list(range(45, 25, -1)), list(range(25, 5, -1)), list(range(5, 0, -1))]
    assert store.index.find(words, limit=45) == (list(range(45, 0, -1)), 0), "no empty page follows"


def test_rooms_and_senders_are_told_apart(store: Store) -> None:
    say(store, "word 1", by="red")
    say(store, "word 2", by="blue")
    say(store, "word 3", by="red", room=OTHER)
    room, red, blue = store.room_number(ROOM), store.senders_called("red"), store.senders_called("blue")
    assert found(store, "word", room=room) == ["word 2", "word 1"]
    assert found(store, "word", room=0) == []
    assert found(store, "word", senders=red) == ["word 3", "word 1"]
    assert found(store, "word", room=room, senders=red) == ["word 1"]
    assert found(store, "word", senders=red + blue) == ["word 3", "word 2", "word 1"]
    assert found(store, "word", without=red) == ["word 2"]
    assert found(store, "word", without=red + blue) == []
    assert found(store, "word", senders=red, without=list(range(50, 2000))) == ["word 3", "word 1"]


def test_names_are_exact_or_else_fold(store: Store) -> None:
    for by in ("red", "Red", "BLUE"):
        say(store, "word", by=by)
    assert store.senders_called("red") == [1]
    assert store.senders_called("Red") == [2]
    assert store.senders_called("RED") == [1, 2]
    assert store.senders_called("blue") == [3]
    assert store.senders_called("green") == []


HOUR = 3_600_000


@pytest.mark.parametrize("seed", range(3))
def test_since_a_time_finds_what_a_plain_search_would(store: Store, seed: int) -> None:
    """The times are in no order: some rooms are read long after they were written, some clocks are wrong."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    times = [
        number * HOUR + (chance.choice([0, 0, 0, 3000, -3000]) if seed else 0) * HOUR
        for start in (9000, 3000, 6000)
        for number in range(start, start + 3000)
    ]
    with store.transaction():
        for seq, sent_at in enumerate(times, start=1):
            store.add_message(ROOM, message(seq, "word" if seq % 7 else "rare word", sent_at=sent_at))
    for words, step in (("word", 1), ("rare", 7)):
        for since in (0, 1, 4000 * HOUR, 8999 * HOUR, 11_990 * HOUR, 14_500 * HOUR, 99_999 * HOUR):
            expected = [row for row in range(9000, 0, -1) if row % step == 0 and times[row - 1] >= since]
            rows, before = [], 2**63 - 1
            for _ in range(1000):
                page, before = store.index.find(
                    store.index.words(words), since=since, before=before, limit=100
                )
                rows += page
                if not before:
                    break
            assert rows == expected, (words, since)


def test_a_page_looks_at_a_bounded_number_of_messages(store: Store) -> None:
    with store.transaction():
        for seq in range(1, 3 * MOST_VISITS):
            late = seq % 100 == 1 and seq < 200
            store.add_message(ROOM, message(seq, "word", sent_at=(99 if late or not seq % 256 else 1) * HOUR))
    looked = 0
    hits = store.index._hits

    def count(expression: str, first: int, last: int, limit: int) -> list[tuple[int, int]]:
        nonlocal looked
        found = hits(expression, first, last, limit)
        looked += len(found)
        return found

    store.index._hits = count  # type: ignore[method-assign]
    words, before, rows = store.index.words("word"), 2**63 - 1, []
    while before:
        looked = 0
        page, before = store.index.find(words, since=99 * HOUR, before=before, limit=100)
        rows += page
        assert looked <= MOST_VISITS
    assert rows == [*(row for row in range(3 * MOST_VISITS - 1, 200, -1) if row % 256 == 0), 101, 1]


def test_a_time_noted_in_a_transaction_that_failed_is_noted_again(store: Store) -> None:
    store.run("BEGIN")
    store.add_message(ROOM, message(1, "word", sent_at=5 * HOUR))
    store.roll_back()
    with store.transaction():
        store.add_message(ROOM, message(1, "word", sent_at=5 * HOUR))
    assert found(store, "word", since=5 * HOUR) == ["word"]


# --- what is gone ---


def shadow(store: Store) -> bytes:
    """Return all that the index stores."""
    blocks = store.rows("SELECT block FROM messages_search_data")
    terms = store.rows("SELECT term FROM messages_search_idx")
    return b"\n".join(bytes(value) for (value,) in blocks + terms if isinstance(value, bytes))


def tokens(store: Store) -> set[tuple[str, int]]:
    """Return the tokens of the index with the rows of their messages."""
    store.run(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab(main, messages_search, instance)"
    )
    found = {(str(term), int(str(row))) for term, row in store.rows("SELECT term, doc FROM temp.vocabulary")}
    store.run("DROP TABLE temp.vocabulary")
    return found


def decrypted(path: Path, into: Path) -> bytes:
    """Return the pages of a database and of its write-ahead log, decrypted."""
    into.mkdir()
    for each in path.parent.glob("store.db*"):
        (into / each.name).write_bytes(each.read_bytes())
    db = apsw.Connection(str(into / path.name))
    db.pragma("key", "raw:" + KEY.hex())
    db.pragma("journal_mode", "delete")
    db.pragma("rekey", "")
    db.close()
    content = (into / path.name).read_bytes()
    assert content.startswith(b"SQLite format 3"), "it is decrypted"
    return content


@pytest.mark.parametrize("batch", [1, 10, 1000])
def test_no_token_of_what_was_erased_is_left(store: Store, path: Path, tmp_path: Path, batch: int) -> None:
    texts = [f"canary{number:04} common word{number % 50}" for number in range(1000)]
    ids = [each for first in range(0, 1000, batch) for each in say(store, *texts[first : first + batch])]
    for number in (0, 1, 500, 777, 998, 999):
        with store.transaction():
            kind = MessageKind.EXPIRED if number % 2 else MessageKind.DELETED
            store.erase_message(ROOM, ids[number], kind)
        store.remove_traces()
    for number in (300, 301):
        with store.transaction():
            line = message(1, "edited", sent_at=5)
            store.edit_message(ROOM, ids[number], os.urandom(32), line)
    assert found(store, "canary0500") == []
    assert found(store, "canary0300") == []
    assert found(store, "edited") == ["edited", "edited"]
    there = shadow(store)
    plain = decrypted(path, tmp_path / "plain")
    for number in (0, 1, 500, 777, 998, 999):
        assert f"canary{number:04}".encode() not in plain
    terms = {term for term, _ in tokens(store)}
    for number in (0, 1, 300, 301, 500, 777, 998, 999):
        assert f"canary{number:04}" not in terms
    assert b"canary0300" not in there
    assert b"canary0301" not in there


def test_an_unusual_word_is_overwritten_in_the_index(store: Store, path: Path, tmp_path: Path) -> None:
    """The canaries of the test above have common beginnings, which the index stores once."""
    chance = random.Random(1)  # noqa: S311 (no secret)
    words = ["".join(chance.choices("abcdefghij", k=12)) for _ in range(3000)]
    ids = say(store, *words)
    before = decrypted(path, tmp_path / "before")
    erased = range(0, 3000, 3)
    with store.transaction():
        for number in erased:
            store.erase_message(ROOM, ids[number], MessageKind.DELETED)
    store.remove_traces()
    after = decrypted(path, tmp_path / "after")
    tails = {words[number][4:].encode() for number in erased} - {
        words[number][4:].encode() for number in range(3000) if number % 3
    }
    assert sum(tail in before for tail in tails) == len(tails)
    assert [tail for tail in tails if tail in after] == []


def test_traces_are_removed_once_nobody_else_reads(store: Store, path: Path) -> None:
    (one,) = say(store, "canary")
    log = path.with_name(path.name + "-wal")
    reader = apsw.Connection(str(path))
    reader.pragma("key", "raw:" + KEY.hex())
    reader.execute("BEGIN").fetchall()
    reader.execute("SELECT * FROM messages").fetchall()
    with store.transaction():
        store.erase_message(ROOM, one, MessageKind.DELETED)
    store.remove_traces()
    assert (store.erased, log.stat().st_size > 0) == (True, True)
    reader.close()
    store.remove_traces()
    assert (store.erased, log.stat().st_size) == (False, 0)


def test_a_store_that_was_not_closed_has_its_traces_removed_when_it_is_opened(tmp_path: Path) -> None:
    former = Store(tmp_path / "store.db", KEY)
    (one,) = say(former, "canary")
    with former.transaction():
        former.erase_message(ROOM, one, MessageKind.DELETED)
    for each in tmp_path.glob("store.db*"):  # as it is after a crash
        (tmp_path / each.name.replace("store", "copy")).write_bytes(each.read_bytes())
    former.close()
    copy = Store(tmp_path / "copy.db", KEY)
    copy.remove_traces()
    assert (tmp_path / "copy.db-wal").stat().st_size == 0
    copy.close()


def test_a_message_edited_ten_thousand_times_leaves_the_index_small(store: Store) -> None:
    (one,) = say(store, "version 0")
    number = store.integer("SELECT number FROM room_numbers")
    text = "version 0"
    for edit in range(1, 10_001):
        with store.unsynced(), store.transaction():
            store.index.remove(1, number, 1, text)
            text = f"version {edit} of \u5317\u4eac {edit * 7919 % 10_007}"
            store.index.add(1, number, 1, text)
    assert len(shadow(store)) < 20_000
    assert {row for _, row in tokens(store)} == {1}
    assert one


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_index_equals_a_fresh_one_after_any_history(path: Path, data: st.DataObject) -> None:
    path.unlink(missing_ok=True)
    store = Store(path, KEY)
    text = st.text(
        st.one_of(
            st.sampled_from(
                "ab \u5317\u4eac\u00e9\u0301\ufe0f\U0001f44d\U0001f3fd\u200d\U0001f1e9\U0001f1ea"
                "\u1112\u1161\u11ab\0\ue000"
            ),
            st.characters(exclude_categories=["Cs"]),
        ),
        max_size=12,
    )
    ids: list[bytes] = []
    for _ in range(data.draw(st.integers(1, 12))):
        try:
            with store.transaction():
                for _ in range(data.draw(st.integers(1, 4))):
                    what = data.draw(st.sampled_from(["add", "add", "edit", "erase"]))
                    if what == "add" or not ids:
                        line = message(
                            len(ids) + 1, data.draw(text), sent_at=data.draw(st.integers(0, 9)) * HOUR
                        )
                        assert store.add_message(ROOM, line)
                        ids.append(line.id)
                    elif what == "edit":
                        store.edit_message(
                            ROOM, data.draw(st.sampled_from(ids)), os.urandom(32), message(1, data.draw(text))
                        )
                    else:
                        store.erase_message(ROOM, data.draw(st.sampled_from(ids)), MessageKind.DELETED)
                if data.draw(st.integers(0, 9)) == 0:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            ids = [
                bytes(each) for (each,) in store.rows("SELECT id FROM messages") if isinstance(each, bytes)
            ]
    kept, times = tokens(store), store.rows("SELECT * FROM search_times")
    with store.transaction():
        store.run("DROP TABLE messages_search")
        store.run("DROP TABLE search_times")
        store.connection.execute(SEARCH_SCHEMA)
        index_all(store.connection)
    assert kept == tokens(store)
    assert times == store.rows("SELECT * FROM search_times")
    for row, there in store.rows("SELECT row, text FROM messages"):
        for word in str(there).split():
            try:
                words = store.index.words(word)
            except ValueError:
                continue
            assert row in store.index.find(words, limit=100)[0]
            assert words.marks(str(there))
    store.close()


def test_the_spaced_form_never_changes() -> None:
    """What was indexed is removed by the same form: another one needs a migration that indexes all anew."""
    characters = (chr(number) for number in range(0x110000) if not 0xD800 <= number < 0xE000)
    digest = hashlib.sha256(spaced("x".join(characters)).encode()).hexdigest()
    assert digest == "d3cc4d8c386e16bebac00baac0f1892acc72d99f001ad9763d1c5e99ecbd5d33"


def test_the_migration_indexes_what_is_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as former:
        former.setattr(schema, "MIGRATIONS", MIGRATIONS[:9])
        store = Store(path, KEY)
        for seq, text in enumerate(["hello \u5317\u4eac", "", "word"], start=1):
            store.run(
                "INSERT INTO messages VALUES (?, ?, ?, ?, 'red', ?, ?, ?)",
                *(ROOM, seq, b"d" * 32, b"a" * 32, os.urandom(16), text, seq * HOUR),
            )
        store.close()
    store = Store(path, KEY)
    assert found(store, "\u4eac") == ["hello \u5317\u4eac"]
    assert found(store, "word", since=3 * HOUR) == ["word"]
    assert found(store, "word", since=4 * HOUR) == []
    assert found(store, "word", room=store.room_number(ROOM), senders=store.senders_called("red")) == ["word"]
    store.close()
