"""What is printed has no bytes that a terminal could take for controls."""

from __future__ import annotations

import io
import sys

import pytest

from clave_client.ui.warnings import encode, encoded, print_warning

QUOTED = "caf\u00e9 \u203a31m \u0416 end"
"""U+203A is 0x9B in cp1252, the control sequence introducer."""


@pytest.mark.parametrize(
    ("text", "encoding", "data"),
    [
        (QUOTED, "utf-8", QUOTED.encode()),
        (QUOTED, "cp1252", b"caf\xe9 ?31m ? end"),
        (QUOTED, "latin-1", b"caf\xe9 ?31m ? end"),
        ("a\x9bb", "latin-1", b"a?b"),
        ("\u0427\u0434", "cp866", b"?\xa4"),
        ("\u2500\u0427", "koi8-r", b"?\xfe"),
        ("\u6f22 \u30a2\uff71", "shift_jis", b"\x8a\xbf \x83A\xb1"),
        ("\x80\u6f22", "shift_jis", b"?\x8a\xbf"),
        ("\u4e02", "gbk", b"\x81@"),
        ("\u1234", "utf-16-le", b"\x34\x12"),
        ("\u0390", "utf-16-le", b"\x90\x03"),
        ("\ud800", "utf-8", b"?"),
    ],
)
def test_what_is_written_in_an_encoding(text: str, encoding: str, data: bytes) -> None:
    assert encode(text, encoding) == data


def test_lines_and_warnings_have_no_byte_of_a_c1_control(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    assert encoded(QUOTED) == b"caf\xe9 ?31m ? end\n"
    print_warning(QUOTED)
    assert stream.buffer.getvalue() == b"clave: caf\xe9 ?31m ? end\n"
