"""Where the others of a room are, as far as a device heard."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from clave_client.errors import RelayFault
from clave_client.formats.payload import sign_payload
from clave_wire.messages import Entry, Kind
from client.memory_relay import Forged, feed, in_one_room, say


def test_a_refused_batch_leaves_no_trace_of_who_is_elsewhere(tmp_path: Path) -> None:
    log, (red, blue) = in_one_room(tmp_path, "red", "blue")
    header = red.header(Kind.CONFIRM, head=b"h" * 32)
    log.append(red, Forged(Kind.CONFIRM, sign_payload(red.room.id, header, red.account.device)))
    hole = msgspec.structs.replace(say(log, red, "hello"), seq=len(log.entries) + 1)
    elsewhere = log.since(blue)
    with pytest.raises(RelayFault, match="left out"):
        feed(blue, [elsewhere[0], hole])
    assert not blue.room.epochs.ahead
    assert not blue.room.epochs.diverged_at
    feed(blue, elsewhere[:1])
    assert blue.room.epochs.ahead == {red.room.account}
    assert isinstance(elsewhere[0], Entry)
    assert blue.room.epochs.diverged_at == elsewhere[0].seq
