from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clave_client.errors import (
    ClientError,
    KeyMismatch,
    ProfileLocked,
    ProfileNotFound,
    RelayRefused,
    RoomNotFound,
)
from clave_client.rpc.jsonrpc import (
    ErrorCode,
    LineSplitter,
    RpcError,
    encode_error,
    encode_request,
    error_from,
    parse_request,
)
from clave_wire.messages import Code


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.data())
def test_lines_are_the_same_however_they_arrive(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter, found = LineSplitter(10), list[bytes | None]()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert found == [line if len(line) <= 10 else None for line in lines]


def test_nothing_is_kept_of_a_line_that_is_too_long() -> None:
    splitter = LineSplitter(1000)
    for _ in range(100):
        assert splitter.feed(bytes(1000)) == []
        assert len(splitter._begun) <= 1000
    assert splitter.feed(b"end\nnext\n") == [None, b"next"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"hello", ErrorCode.PARSE_ERROR),
        (b'{"jsonrpc":"2.0","method":"ping","id":1', ErrorCode.PARSE_ERROR),
        (b'{"method":"\xff"}', ErrorCode.PARSE_ERROR),
        (b'{"params":{"a":' + b"[" * 100_000, ErrorCode.PARSE_ERROR),
        (b"[" * 100_000 + b"]" * 100_000, ErrorCode.INVALID_REQUEST),
        (b"[]", ErrorCode.INVALID_REQUEST),
        (b'[{"jsonrpc":"2.0","method":"ping","id":1}]', ErrorCode.INVALID_REQUEST),
        (b"null", ErrorCode.INVALID_REQUEST),
        (b'{"method":"ping","id":1}', ErrorCode.INVALID_REQUEST),
        (b'{"jsonrpc":"1.0","method":"ping","id":1}', ErrorCode.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1}', ErrorCode.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","method":5,"id":1}', ErrorCode.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","method":"ping","id":{}}', ErrorCode.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","method":"ping","params":[1],"id":1}', ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_is_no_request_has_a_code(line: bytes, code: ErrorCode) -> None:
    with pytest.raises(RpcError) as refused:
        parse_request(line)
    assert refused.value.code is code
    assert "\n" not in str(refused.value)


def test_a_request_and_a_notification() -> None:
    request = parse_request(encode_request("room.info", {"room": "friends"}, "7"))
    assert (request.method, request.params, request.id) == ("room.info", {"room": "friends"}, "7")
    assert parse_request(encode_request("event", {})).id is None


@pytest.mark.parametrize(
    "error",
    [
        RoomNotFound("you are in no room called x"),
        KeyMismatch("blue", b"a" * 32, "the blue you know", b"b" * 32, "the group friends"),
        ProfileNotFound("red"),
        ProfileLocked("red", 17),
        ClientError("something"),
        RpcError(ErrorCode.METHOD_NOT_FOUND, "there is no method"),
    ],
)
def test_an_error_keeps_its_kind_words_and_attributes(error: ClientError) -> None:
    answer = json.loads(encode_error("1", error))
    again = error_from(answer["error"])
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.exit_status == error.exit_status
    assert vars(again) == vars(error)


def test_a_refusal_of_the_relay_keeps_its_words_and_status() -> None:
    error = RelayRefused(Code.NO_SUCH_ROOM, "no such room", 2.0)
    again = error_from(json.loads(encode_error(None, error))["error"])
    assert isinstance(again, RelayRefused)
    assert (str(again), again.exit_status) == (str(error), 4)


@pytest.mark.parametrize(
    "raw",
    [None, [], "x", {}, {"data": {"kind": "os"}}, {"message": "m", "data": {"kind": "Any"}}, {"code": 1}],
)
def test_any_error_object_gives_an_error(raw: object) -> None:
    assert isinstance(error_from(raw), ClientError)
