from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clave_client.errors import PeerError
from clave_client.formats.mimi.status import MAX_REPORTS, MessageStatus, decode_status, encode_status
from mimikit import ID, breaks, case_name
from rulekit import proves

NO_REPORTS: tuple[object, ...] = (None, 1, "", b"", [1], [[]], [[ID]], [[ID, "1"]], [[ID, True]], [[1, ID]])
NO_REPORTS += ([[ID, 1, 1]], [[ID, 0.1]], [[ID.hex(), 1]])

BROKEN = [
    *(("status-fields", cbor2.dumps(value)) for value in NO_REPORTS),
    ("status-fields", b"\xa0"),
    ("status-fields", b"\x81\xa0"),
    ("id-size", cbor2.dumps([[ID[1:], 1]])),
    ("id-hash", cbor2.dumps([[ID, 1], [bytes(32), 1]])),
    ("status-value", cbor2.dumps([[ID, 256]])),
    ("status-value", cbor2.dumps([[ID, -1]])),
    ("status-count", cbor2.dumps([[ID, 1]] * (MAX_REPORTS + 1))),
    ("cbor-single", cbor2.dumps([[ID, 1]]) + b"\x00"),
    ("tag-place", b"\x81\xc0" + cbor2.dumps([ID, 1])),
]


@proves(*sorted({rule_id for rule_id, _ in BROKEN}))
@pytest.mark.parametrize(("rule_id", "data"), BROKEN, ids=case_name)
def test_what_is_no_report_is_refused(rule_id: str, data: bytes) -> None:
    with breaks(rule_id):
        decode_status(data)


@settings(derandomize=True, deadline=None)
@given(
    st.lists(
        st.tuples(st.binary(min_size=31, max_size=31).map(lambda rest: b"\x01" + rest), st.integers(0, 255))
    )
)
def test_reports_are_decoded_as_encoded_unknown_status_included(reports: list[tuple[bytes, int]]) -> None:
    assert decode_status(encode_status(reports)) == reports


def test_as_many_as_one_report_may_have() -> None:
    reports = [(ID, MessageStatus.READ)] * MAX_REPORTS
    assert decode_status(encode_status(reports)) == reports


@pytest.mark.parametrize("reports", [[(ID, 256)], [(b"short", 1)], [(ID, 1)] * (MAX_REPORTS + 1)])
def test_what_receivers_would_refuse_is_not_encoded(reports: list[tuple[bytes, int]]) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        encode_status(reports)


@settings(derandomize=True, deadline=None)
@given(st.binary(min_size=1, max_size=100).filter(lambda data: data != b"\x80"))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        decode_status(data)
