"""What an audit of a room found, in lines. Knows no terminal."""

from __future__ import annotations

from collections.abc import Sequence

from clave_client.values import AuditFinding

__all__ = ["audit_summary", "finding_line"]


def finding_line(finding: AuditFinding) -> str:
    """Return the line of one check."""
    return f"{'ok' if finding.ok else 'FAIL':<4} {finding.text}"


def audit_summary(findings: Sequence[AuditFinding]) -> str:
    """Return the last line, with what to do if something does not hold."""
    failed = [finding.check for finding in findings if not finding.ok]
    if not failed:
        return f"all {len(findings)} checks hold"
    if failed == ["pins"]:
        advice = "ask them over another channel, then decide with /trust NAME"
    else:
        advice = "restore a backup, or leave the room and have yourself invited again"
    return f"{len(failed)} of {len(findings)} checks failed ({', '.join(failed)}): {advice}"
