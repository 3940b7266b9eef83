"""The page docs/mimi-validation.md: every rule for contents, and its tests. Run this to write it."""

from __future__ import annotations

from clave_client.formats.mimi.rules import CONTENT_DRAFT, STATUS_DRAFT, Rule
from rulekit import TESTS, proofs
from rulepage import table

PAGE = TESTS.parent / "docs" / "mimi-validation.md"
FOLDER = "client/formats/mimi"

_HEAD = """\
# Validation rules for the contents of messages

Written by `make validation-page`; do not edit. `clave_client.formats.mimi` checks what
draft-ietf-mimi-content-08 requires a receiver to check, and draft-mahy-mimi-message-status for reports of
status. What breaks a rule is refused with `PeerError`, whose text ends with the section and the rule's id.
Each test in the row fails if the check is switched off; `tests/client/formats/mimi/test_rules.py` proves that
for every row.
"""

NOT_CHECKED = (
    ("3.3", "salts are random", "a receiver cannot see how a value was chosen"),
    ("4.1", "replies form no loop", "a content is judged by itself; its id, and so a loop, is known later"),
    ("4.3", "an extension has a value of its registered type", "only the two URIs are read here"),
    ("4.4", "a language is empty or a list of language tags", "section 9.1: unknown ones are legitimate"),
    (
        "4.4",
        "a content ID URI names a part of the message that is no multipart",
        "nothing here looks into a part's content",
    ),
    ("4.5", "`key`, `nonce` and `aad` are empty if `encAlg` is 0", "nothing here uses them"),
    ("5.3", "several reactions are not one text", "what is one reaction depends on the version of Unicode"),
    (
        "9.1",
        "no two messages have the same id; the sender is a member; the time of acceptance is plausible",
        "the callers know members, ids and times",
    ),
    ("9.1", "the body is not too large", "the relay's limit on entries is that of contents"),
)
"""What is required and not checked here: section, what, why."""


def validation_page() -> str:
    """Return the text of the page."""
    parts = [_HEAD]
    for draft, title in ((CONTENT_DRAFT, "Contents"), (STATUS_DRAFT, "Reports of status")):
        rows = [
            (f"`{rule.id}`", _link(draft, rule.section), rule.text, _tests(rule.id))
            for rule in Rule
            if rule.draft == draft
        ]
        parts += [
            f"## {title}: {len(rows)} rules\n",
            table(("rule", "section", "what must hold", "tests"), rows),
        ]
    rows_not_checked = [(_link(CONTENT_DRAFT, section), what, why) for section, what, why in NOT_CHECKED]
    parts += ["## Not checked here\n", table(("section", "what must hold", "why"), rows_not_checked)]
    return "\n".join(parts)


def _tests(rule_id: str) -> str:
    return "<br>".join(
        f"`{proof.path}::{proof.name}`" for proof in proofs(FOLDER) if rule_id in proof.rule_ids
    )


def _link(draft: str, section: str) -> str:
    return f"[{section}](https://datatracker.ietf.org/doc/html/{draft}#section-{section})"


if __name__ == "__main__":
    PAGE.write_text(validation_page())
