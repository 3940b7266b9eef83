"""docs/errors.md has every error, with words that the code uses; each is one line with a status."""

from __future__ import annotations

import pytest

import errorpage
from clave_client import errors as client
from clave_client.cli.exit_status import EXIT_STATUSES, exits
from clave_client.rpc.jsonrpc import dump_error, error_from
from clave_server import errors as server
from clave_wire.messages import Code

CLIENT = list(errorpage.subclasses(client.ClientError))
RELAY = list(errorpage.subclasses(server.ServerError))


def test_the_page_is_made_from_the_code() -> None:
    assert errorpage.PAGE.read_text(encoding="utf-8") == errorpage.page(), "run: make errors-page"


def test_every_error_and_every_code_has_its_words() -> None:
    assert set(errorpage.CLIENT_WORDS) == set(CLIENT)
    assert set(errorpage.RELAY_WORDS) == set(RELAY)
    assert set(errorpage.CODES) == set(Code)
    assert {kind.__name__ for kind in CLIENT} == set(client.__all__)
    assert {kind.__name__ for kind in RELAY} == set(server.__all__)


@pytest.mark.parametrize("words", [*errorpage.CLIENT_WORDS.values(), *errorpage.RELAY_WORDS.values()])
def test_the_words_are_those_of_the_code(words: str) -> None:
    if not words.startswith("("):
        literals = errorpage.literals()
        for piece in errorpage.pieces(words):
            assert any(piece in literal for literal in literals), f"{piece!r} is nowhere in the code"


@pytest.mark.parametrize("kind", CLIENT, ids=lambda kind: kind.__name__)
def test_an_error_ends_a_command_with_one_line_and_its_status(
    kind: type[client.ClientError], capsys: pytest.CaptureFixture[str]
) -> None:
    assert kind.exit_status in EXIT_STATUSES
    assert kind.__doc__
    words = errorpage.CLIENT_WORDS[kind]
    error = error_from(
        {"message": words, "data": {"kind": kind.__name__, "fields": {"name": "red", "code": "limit"}}}
    )
    assert type(error) is kind
    with pytest.raises(SystemExit) as ended, exits():
        raise error
    assert ended.value.code == kind.exit_status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("clave: ")
    assert type(error_from(dump_error(error))) is kind, "another window is told the same"
