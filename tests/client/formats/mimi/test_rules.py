"""Every rule has tests that fail without it, and docs/mimi-validation.md lists them all."""

from __future__ import annotations

from itertools import chain

import pytest

from clave_client.formats.mimi.rules import Rule
from mimirulepage import FOLDER, PAGE, validation_page
from rulekit import proofs


def test_every_rule_has_a_test_and_every_proof_a_rule() -> None:
    assert {rule.id for rule in Rule} == set(chain.from_iterable(proof.rule_ids for proof in proofs(FOLDER)))
    assert all(rule.text.endswith(".") for rule in Rule)


@pytest.mark.parametrize("rule", Rule, ids=lambda rule: rule.id)
def test_no_rule_can_be_left_out(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed = [proof for proof in proofs(FOLDER) if rule.id in proof.rule_ids]
    assert all(all(proof.runs(rule.id)) for proof in claimed)
    refuse = Rule.broken

    def broken(broken_rule: Rule, found: str) -> None:
        if broken_rule is not rule:
            refuse(broken_rule, found)

    monkeypatch.setattr(Rule, "broken", broken)
    assert not [proof.name for proof in claimed if any(proof.runs(rule.id))]


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == validation_page(), "run `make validation-page`"
