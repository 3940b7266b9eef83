"""What the relay is to reach beside the others in the same run, and whether it did. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.relay.table import Row, rival

__all__ = ["Verdict", "judge"]

_DELIVERIES = {"a": 1.2, "b": 2.0, "c": 2.0, "d": 1.2}
_DELIVERIES_TLS = 2.0
_DELIVERIES_INSPIRCD = {"b": 1.0, "c": 1.0}
_CPU = 0.6
_P99 = 2.0
_P99_STUCK = 1.0
_IDLE_KIB = {"relay": 8.0, "relay-tls": 32.0}
_LOGIN_SECONDS = 60.0
_ACCEPTED = 20_000.0


@dataclass(frozen=True)
class Verdict:
    """One figure of the relay against its bound."""

    scene: str
    server: str
    what: str
    value: float
    bound: float
    at_least: bool

    @property
    def held(self) -> bool:
        """Whether it was reached."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        found = f"{self.value:10,.2f}  {sign} {self.bound:<8,g} {'reached' if self.held else 'MISSED'}"
        return f"({self.scene}) {self.server:10}{self.what:45}{found}"


def judge(scene: str, rows: Mapping[str, Row]) -> Iterator[Verdict]:
    """Yield a verdict for each target of the scene whose two sides were measured."""
    for name, row in rows.items():
        if not name.startswith("relay"):
            continue
        peer, inspircd = rows.get(rival(name)), rows.get("inspircd")
        if scene in _DELIVERIES and peer:
            bound = _DELIVERIES_TLS if name == "relay-tls" else _DELIVERIES[scene]
            ratio = row.deliveries / peer.deliveries
            yield Verdict(scene, name, f"deliveries, x {peer.server}", ratio, bound, at_least=True)
            yield Verdict(
                scene, name, f"CPU per delivery, x {peer.server}", row.cpu / peer.cpu, _CPU, at_least=False
            )
            ratio = row.delay("rate", "p99") / peer.delay("rate", "p99")
            yield Verdict(scene, name, f"p99 at the same load, x {peer.server}", ratio, _P99, at_least=False)
        if scene in _DELIVERIES_INSPIRCD and inspircd and name == "relay":
            ratio = row.deliveries / inspircd.deliveries
            yield Verdict(
                scene, name, "deliveries, x inspircd", ratio, _DELIVERIES_INSPIRCD[scene], at_least=True
            )
        if scene == "e":
            yield Verdict(
                scene, name, "KiB per idle connection", row.idle_kib, _IDLE_KIB[name], at_least=False
            )
            seconds = row.login_seconds
            yield Verdict(
                scene, name, "seconds until all had logged in", seconds, _LOGIN_SECONDS, at_least=False
            )
        if scene == "f" and peer:
            ratio = row.delay("rate", "p99") / peer.delay("rate", "p99")
            yield Verdict(scene, name, f"the others' p99, x {peer.server}", ratio, _P99_STUCK, at_least=False)
        if scene == "g":
            yield Verdict(
                scene, name, "durable messages accepted per second", row.accepted, _ACCEPTED, at_least=True
            )
