"""The page docs/mls-validation.md: every rule, and the tests that fail without it. Run this to write it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clave_crypto.mls.rules.registry import RULES
from rulekit import TESTS, proofs

PAGE = TESTS.parent / "docs" / "mls-validation.md"

_HEAD = """\
# Validation rules of the MLS library

Written by `make validation-page`; do not edit. `clave_crypto.mls` checks what RFC 9420 requires a receiver
to check. Each row below is one named check. A message that breaks it is refused with `ValidationError`, whose
`rule` and `section` are those of the row, and the group's state stays byte-identical. Each test in the row
fails if the check is switched off; `tests/crypto/rules/test_registry.py` proves that for every row.
"""

REFUSED_OTHERWISE = (
    (
        "5.3.1",
        "A credential, or its replacement, that the application does not accept",
        "PolicyRejected",
        "test_committing.py::test_policy_can_refuse_a_leaf_in_every_place",
        "test_committing.py::test_policy_refuses_a_successor",
    ),
    (
        "6",
        "A version, wire format, content or sender type this library does not know",
        "UnsupportedError",
        "test_refusals.py::test_unknown_version_and_wire_format",
        "test_refusals.py::test_unknown_content_and_sender_type",
    ),
    (
        "6",
        "Bytes that are not the canonical encoding of a message",
        "MalformedError",
        "test_refusals.py::test_length_that_is_not_minimal",
        "test_mutation.py::test_cut_and_extended",
    ),
    ("6", "A message of another group", "WrongGroupError", "test_refusals.py::test_message_of_another_group"),
    (
        "6.3",
        "A message that no key of the epoch decrypts",
        "DecryptionError",
        "test_mutation.py::test_some_bits_flipped",
    ),
    (
        "9.1",
        "A message whose key was used before, or whose generation is too far ahead",
        "ReplayError, TooFarAheadError",
        "test_talking.py::test_replay_is_refused",
        "test_talking.py::test_a_generation_too_far_ahead_is_refused",
    ),
    (
        "12.1",
        "A proposal or commit of another epoch than the current one",
        "WrongEpochError",
        "test_talking.py::test_past_handshake_messages_are_refused",
        "rules/test_message.py::test_public_message_of_another_group_or_epoch",
    ),
    (
        "12.1.8",
        "An external proposal that the application does not accept",
        "PolicyRejected",
        "test_outside.py::test_policy_judges_external_proposals",
    ),
    (
        "12.2",
        "A proposal of a type this library does not know",
        "UnsupportedError",
        "test_refusals.py::test_unknown_proposal",
    ),
    (
        "12.4.2",
        "A commit whose path secret does not decrypt",
        "DecryptionError",
        "rules/test_path.py::test_path_that_does_not_open",
    ),
    (
        "12.4.2",
        "A commit with a pre-shared key that this member does not have",
        "UnsupportedError",
        "test_committing.py::test_pre_shared_keys_must_be_known_to_all",
    ),
    (
        "12.4.2",
        "Proposals and commits after a committed ReInit; everything after this member's removal",
        "GroupClosedError",
        "test_refusals.py::test_handshakes_after_a_committed_reinit",
        "test_refusals.py::test_anything_after_removal",
    ),
    (
        "12.4.3.1",
        "A Welcome for none of this client's key packages",
        "LocalError",
        "test_joining.py::test_welcome_for_another_client",
    ),
    (
        "12.4.3.1",
        "A Welcome that does not decrypt, or whose pre-shared keys this client does not have",
        "DecryptionError, UnsupportedError",
        "test_joining.py::test_welcome_that_does_not_open",
        "test_joining.py::test_newcomer_needs_the_pre_shared_keys",
    ),
    (
        "17.1",
        "A cipher suite that this library does not have",
        "UnsupportedError",
        "rules/test_key_package.py::test_key_package_for_another_suite",
    ),
)
"""What is refused with another error than `ValidationError`: section, what, errors, tests in tests/crypto."""

NOT_CHECKED = (
    ("5.3.3", "`application_id` is not treated as authenticated", "the library never reads it"),
    ("6.3.1", "reuse guards are fresh and random", "a receiver cannot see how a value was chosen"),
    ("6.3.1", "the AEAD's limits on sizes are kept", "`Limits.message` keeps each message far below them"),
    (
        "7.2",
        "capabilities list all that a client supports, and no default types",
        "only its owner knows what it supports; extra entries do no harm",
    ),
    ("8.4", "PSK nonces are fresh and random", "a receiver cannot see how a value was chosen"),
    (
        "8.4",
        "commit and Welcome name the same PSKs",
        "a joiner does not see the commit; if they differ, so does the confirmation tag",
    ),
    ("10", "an init key is used for one key package only", "a receiver does not see the others"),
    (
        "11",
        "the creator chose the best suite that all support",
        "a joiner does not know the others' key packages",
    ),
    (
        "12.4",
        "proposals are committed before application data is sent",
        "receivers may get them late; this library does so when it sends",
    ),
    ("12.4", "a commit covers all valid proposals", "RFC 9420 tells receivers not to enforce it"),
    (
        "12.1.8",
        "external proposals are sent as public messages",
        "a private message can only name a member as its sender",
    ),
    (
        "12.3",
        "proposals are applied in the order given",
        "a requirement on the receiver itself; the test vectors cover it",
    ),
    (
        "13.5",
        "unknown values in capabilities and extensions are ignored",
        "a requirement on the receiver itself; tests send unknown values",
    ),
)
"""What a receiver cannot check, or need not: section, what, why."""


def validation_page() -> str:
    """Return the text of the page."""
    rules = sorted(RULES.values(), key=lambda rule: (_numbers(rule.section), rule.id))
    rows = [(f"`{rule.id}`", _link(rule.section), rule.text, "<br>".join(_tests(rule.id))) for rule in rules]
    parts = [
        _HEAD,
        f"## The {len(rules)} rules\n",
        table(("rule", "section", "what must hold", "tests"), rows),
        "## Refused by other errors\n",
        table(("section", "what is refused", "error", "tests"), map(_refusal, REFUSED_OTHERWISE)),
        "## Not checked\n",
        table(
            ("section", "what must hold", "why no receiver here checks it"),
            ((_link(section), what, why) for section, what, why in NOT_CHECKED),
        ),
    ]
    return "\n".join(parts)


def _tests(rule_id: str) -> Iterable[str]:
    return (f"`{proof.path}::{proof.name}`" for proof in proofs() if rule_id in proof.rule_ids)


def _refusal(row: tuple[str, ...]) -> Sequence[str]:
    section, what, error, *tests = row
    return _link(section), what, error, "<br>".join(f"`tests/crypto/{test}`" for test in tests)


def _numbers(section: str) -> tuple[int, ...]:
    """Return the numbers of a section, to sort by; what is not in RFC 9420 comes last."""
    return tuple(map(int, section.split("."))) if section[0].isdigit() else (99,)


def _link(section: str) -> str:
    if not section[0].isdigit():
        return f"[{section}](https://datatracker.ietf.org/doc/draft-ietf-mls-extensions/)"
    return f"[{section}](https://www.rfc-editor.org/rfc/rfc9420#section-{section})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(validation_page())
