"""Every rule has tests that fail without it, and docs/mls-validation.md lists them all."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest

from clave_crypto.mls import errors
from clave_crypto.mls.rules.registry import RULES
from rulekit import TESTS, proofs
from rulepage import PAGE, REFUSED_OTHERWISE, validation_page


def test_every_rule_has_a_test_and_every_proof_a_rule() -> None:
    assert RULES.keys() == set(chain.from_iterable(proof.rule_ids for proof in proofs()))
    for rule in RULES.values():
        assert rule.text.endswith(".")
        assert rule.section[0].isdigit() or rule.section == "SelfRemove Proposal"


@pytest.mark.parametrize("rule_id", sorted(RULES))
def test_no_rule_can_be_left_out(rule_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed = [proof for proof in proofs() if rule_id in proof.rule_ids]
    assert all(all(proof.runs(rule_id)) for proof in claimed)
    idle = replace(RULES[rule_id], check=lambda *_, **__: None)
    monkeypatch.setitem(RULES, rule_id, idle)
    assert not [proof.name for proof in claimed if any(proof.runs(rule_id))]


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == validation_page(), "run `make validation-page`"


def test_page_names_errors_and_tests_that_exist() -> None:
    for _, _, named, *tests in REFUSED_OTHERWISE:
        assert set(named.split(", ")) <= set(errors.__all__)
        for path, name in (test.split("::") for test in tests):
            assert f"\ndef {name}(" in (TESTS / "crypto" / path).read_text()
