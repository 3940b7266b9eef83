"""What the ui adds to the errors and notices of the library."""

from __future__ import annotations

import pytest

from clave_client.errors import (
    ClientError,
    KeyNotShown,
    MemberNotFound,
    NotAFolder,
    NotInRoom,
    PassphraseNeeded,
    ProfileNotFound,
    ProfileOfOther,
    RelayChanged,
    RelayUnknown,
    RoomNotFound,
    SelfRemoval,
    UsageError,
)
from clave_client.events import Advice, Notice
from clave_client.ui.hints import error_text, notice_text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyNotShown("no key"), "no key; compare with /fingerprint first"),
        (MemberNotFound("no red"), "no red; /members lists who is"),
        (NotInRoom("not there"), "not there; /room lists yours"),
        (RoomNotFound("no room"), "no room; /room or clave info lists them"),
        (SelfRemoval("leave it"), "to leave a room yourself, use /leave"),
        (
            NotAFolder("x is not a folder; move it away"),
            "x is not a folder; move it away or choose another --home",
        ),
        (ProfileOfOther("it is another's"), "it is another's; choose another --home"),
        (PassphraseNeeded("it has one"), "it has one; start it on a terminal or use --passphrase-file"),
        (RelayChanged("ask its operator"), "ask its operator, and if that is right give it with --pin"),
        (RelayUnknown("not met"), "not met; say where with --relay HOST:PORT"),
        (
            ProfileNotFound("red"),
            "there is no profile red yet; make one with: clave chat --relay HOST:PORT --name red",
        ),
        (UsageError("other"), "other"),
    ],
)
def test_an_error_is_shown_with_the_command_that_helps(error: ClientError, text: str) -> None:
    assert error_text(error) == text


@pytest.mark.parametrize("advice", [None, *Advice])
def test_every_advice_has_a_hint(advice: Advice | None) -> None:
    shown = notice_text(Notice(b"", "look", advice, "red"))
    assert shown.startswith("look")
    assert ("/" in shown) is (advice is not None)
    assert "{" not in shown
