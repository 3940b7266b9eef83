"""The page docs/mls-validation.md: every rule, and the tests that fail without it. Run this to write it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clave_crypto.mls.rules.registry import RULES
from rulekit import TESTS, proofs

PAGE = TESTS.parent / "docs" / "mls-validation.md"

_HEAD = """\
# What an MLS peer must not do

Written by `make validation-page`; do not edit. `clave_crypto.mls` checks what RFC 9420 asks a receiver to
check. Each line below is one named check: a message that breaks it is refused with `ValidationError`, whose
`rule` and `section` are these, and the group's state stays byte-identical. With the check switched off, each
test beside it fails (`tests/crypto/rules/test_registry.py` tries that for every line).
"""

REFUSED_OTHERWISE = (
    ("5.3.1", "A credential or its successor that the application does not believe", "PolicyRejected"),
    (
        "6",
        "An MLSMessage of another version, an unknown wire format, content or sender type",
        "MalformedError",
    ),
    ("6", "Bytes that are not the one encoding of what they say", "MalformedError"),
    (
        "6.3",
        "A message no key of the epoch opens; one whose key was used already",
        "DecryptionError, ReplayError",
    ),
    ("6.3.1", "A message too far ahead of its sender's last one", "TooFarAheadError"),
    ("8.4, 12.4.2", "A pre-shared key this member does not have", "UnsupportedError"),
    ("12.1, 12.4.2", "A proposal or commit of an epoch other than the present one", "WrongEpochError"),
    ("12.1.8", "An external proposal the application does not want", "PolicyRejected"),
    ("12.2, 13.1", "A proposal of a type this library does not know", "MalformedError"),
    ("12.4.2", "A commit whose path secret does not open", "DecryptionError"),
    ("12.4.2", "Anything but late messages, in a group that goes on as another", "GroupClosedError"),
    (
        "12.4.3.1",
        "A Welcome for none of the key packages held here, or that does not open",
        "LocalError, DecryptionError",
    ),
    ("17.1", "A cipher suite this library does not have", "UnsupportedError"),
)
"""What is refused by another error than a broken rule: section, what, error."""

NOT_CHECKED = (
    ("5.3.3", "application_id is not relied on as if it were authenticated", "the library never reads it"),
    ("6.3.1", "reuse guards are fresh and random", "randomness cannot be seen from outside"),
    ("6.3.1", "the AEAD's limits on sizes are kept", "`Limits.message` bounds each message far below them"),
    (
        "7.2",
        "a leaf's total lifetime is not longer than the application allows",
        "for the policy: it sees each leaf",
    ),
    (
        "7.2",
        "capabilities list all that a client supports, and no default types",
        "only its owner knows; harmless",
    ),
    ("8.4, 12.1.4", "PSK nonces are fresh and random", "randomness cannot be seen from outside"),
    (
        "8.4",
        "commit and Welcome name the same PSKs",
        "a joiner does not see the commit; else the tags would differ",
    ),
    ("10", "an init key is used for one key package only", "a receiver does not see the others"),
    (
        "10",
        "a key package's own extensions are listed in its capabilities",
        "13.5 sends GREASE there unlisted",
    ),
    (
        "11",
        "the creator chose the best suite that all support",
        "the others' offers are not known to a joiner",
    ),
    (
        "12.4",
        "proposals are committed before application data is sent",
        "they may be late; sending here keeps to it",
    ),
    ("12.4", "a commit covers all valid proposals", "receivers are told not to enforce it"),
    ("13.5", "GREASE values get no special treatment", "it is about what is not done; tests send them"),
)
"""What a receiver cannot check, or need not: section, what, why."""


def validation_page() -> str:
    """Return the page as it should be."""
    rules = sorted(RULES.values(), key=lambda rule: (_numbers(rule.section), rule.id))
    rows = [(f"`{rule.id}`", _link(rule.section), rule.text, "<br>".join(_tests(rule.id))) for rule in rules]
    parts = [
        _HEAD,
        f"## The {len(rules)} rules\n",
        _table(("rule", "section", "what must hold", "tests"), rows),
        "## Refused by other errors\n",
        _table(("section", "what is refused", "error"), REFUSED_OTHERWISE),
        "## Not checked\n",
        _table(("section", "what senders must do", "why no receiver here checks it"), NOT_CHECKED),
    ]
    return "\n".join(parts)


def _tests(rule_id: str) -> Iterable[str]:
    return (f"`{proof.path}::{proof.name}`" for proof in proofs() if rule_id in proof.rule_ids)


def _numbers(section: str) -> tuple[int, ...]:
    return tuple(map(int, section.split(".")))


def _link(section: str) -> str:
    return f"[{section}](https://www.rfc-editor.org/rfc/rfc9420#section-{section})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(validation_page())
