"""Metrics, health and readiness: they report the relay's state; invalid requests are closed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator
from functools import partial

import apsw
import pytest
from prometheus_client.parser import text_string_to_metric_families

from clave_server.admin.gauges import Gauges, read_gauges
from clave_server.admin.http_endpoints import HttpEndpoints
from clave_server.admin.metrics import Metrics
from clave_server.admin.request_handler import AdminHandler
from clave_server.errors import StartError
from clave_server.observe.counters import FLUSH_BOUNDS, Counters
from clave_wire import messages as m
from relaykit import ConnectionClosed, RelayUnderTest


@pytest.fixture
async def port(relay: RelayUnderTest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr("clave_server.admin.http_endpoints.REUSE_SECONDS", 0.0)
    running = relay.relay
    metrics = Metrics(running.context.counters, partial(read_gauges, running), relay.data_dir.disk_use)
    probes = await HttpEndpoints.open(
        "127.0.0.1", 0, metrics.render, AdminHandler(running, relay.data_dir).readiness_fault
    )
    yield probes.addresses[0][1]
    await probes.close()


async def send_bytes(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = b""
    with contextlib.suppress(ConnectionError):
        await writer.drain()
        answer = await reader.read()
    writer.close()
    return answer


async def get(port: int, path: str) -> tuple[int, str]:
    answer = (await send_bytes(port, f"GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n".encode())).decode()
    head, _, body = answer.partition("\r\n\r\n")
    assert f"Content-Length: {len(body)}" in head
    return int(head.split()[1]), body


async def samples(port: int) -> dict[str, float]:
    status, body = await get(port, "/metrics")
    assert status == 200
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


async def test_metrics_report_the_state_of_the_relay(relay: RelayUnderTest, port: int) -> None:
    before = await samples(port)
    assert (before["clave_people"], before["clave_connections"]) == (0, 0)
    await relay.room_of("red", "blue")
    with pytest.raises(ConnectionClosed):
        await relay.join("red")
    after = await samples(port)
    assert (after["clave_people"], after["clave_devices"], after["clave_rooms_open"]) == (2, 2, 1)
    assert after["clave_connections_accepted_total"] == 3
    assert (after["clave_logins_total"], after["clave_registrations_total"]) == (2, 2)
    assert after[f"clave_logins_refused_total[{m.Code.NAME_TAKEN}]"] == 1
    assert after["clave_database_bytes"] >= relay.database.stat().st_size
    assert after["clave_storage_works"] == 1
    assert after["process_resident_memory_bytes"] > 0


def distinct_values() -> tuple[Counters, Gauges]:
    """Return counters and gauges with a different number in each field."""
    counters = Counters()
    for number, field in enumerate(dataclasses.fields(Counters)):
        if field.type in ("int", "float"):
            setattr(counters, field.name, 1000 + number)
    counters.connections_refused.update(full=3, banned=4)
    counters.logins_refused.update(token=5)
    return counters, Gauges(1, 2, 3, 4, 5, 6, 7, 8, 9, storage_works=False)


def test_every_counter_and_gauge_is_a_metric() -> None:
    counters, gauges = distinct_values()
    counters.flush_buckets[:] = range(1, len(FLUSH_BOUNDS) + 2)
    body = Metrics(counters, lambda: gauges, lambda: (77, 88)).render().decode()
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }
    for field in dataclasses.fields(Counters):
        if field.type == "int" and field.name != "flushes":
            assert told[(f"clave_{field.name}_total",)] == getattr(counters, field.name)
    for name in Gauges.__struct_fields__:
        assert told[(f"clave_{name}",)] == getattr(gauges, name)
    assert told[("clave_connections_refused_total", "banned")] == 4
    assert told[("clave_connections_refused_total", "full")] == 3
    assert told[("clave_logins_refused_total", "token")] == 5
    assert (told[("clave_database_bytes",)], told[("clave_disk_free_bytes",)]) == (77, 88)
    assert told[("clave_flush_seconds_bucket", "0.0005")] == 1
    assert told[("clave_flush_seconds_bucket", "0.001")] == 3
    assert told[("clave_flush_seconds_bucket", "+Inf")] == told[("clave_flush_seconds_count",)] == 66
    assert told[("clave_flush_seconds_sum",)] == counters.flush_seconds


async def test_readiness_fails_while_writes_fail_and_health_does_not(
    relay: RelayUnderTest, port: int
) -> None:
    assert await get(port, "/healthz") == (200, "ok\n")
    assert await get(port, "/readyz?verbose=1") == (200, "ready\n")
    await make_read_only(relay, True)
    with pytest.raises(ConnectionClosed):
        await relay.join("red")
    status, body = await get(port, "/readyz")
    assert (status, body.startswith("storage fails")) == (503, True)
    assert (await samples(port))["clave_storage_works"] == 0
    assert await get(port, "/healthz") == (200, "ok\n")
    await make_read_only(relay, False)
    assert await get(port, "/readyz") == (200, "ready\n")
    await relay.join("red")


async def make_read_only(relay: RelayUnderTest, wanted: bool) -> None:
    """Make every write fail, or work again."""
    done = asyncio.Event()

    def work(connection: apsw.Connection) -> None:
        connection.pragma("query_only", wanted)

    relay.relay.writer.submit(work, lambda _: done.set())
    await done.wait()


async def test_other_paths_and_methods_are_refused(port: int) -> None:
    assert (await get(port, "/"))[0] == 404
    assert (await get(port, "/metrics/../../etc/passwd"))[0] == 404
    assert b"405 Method Not Allowed" in await send_bytes(port, b"POST /metrics HTTP/1.1\r\n\r\n")
    assert b"400 Bad Request" in await send_bytes(port, b"GET /metrics\r\n\r\n")
    assert b"400 Bad Request" in await send_bytes(port, b"\r\n\r\n")


async def test_connections_with_an_invalid_request_are_closed(port: int) -> None:
    assert await send_bytes(port, b"GET /" + b"x" * 100_000) == b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\n")
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    assert await get(port, "/healthz") == (200, "ok\n")


async def test_a_silent_connection_is_closed_after_a_timeout(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clave_server.admin.http_endpoints.CONNECTION_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b""
    writer.close()


async def test_at_most_16_connections_are_served_at_a_time(
    blocked_readiness: tuple[int, asyncio.Event, asyncio.Event],
) -> None:
    port, all_wait, decided = blocked_readiness
    asking = [asyncio.ensure_future(get(port, "/readyz")) for _ in range(16)]
    await all_wait.wait()
    assert await send_bytes(port, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
    decided.set()
    assert await asyncio.gather(*asking) == [(200, "ready\n")] * 16


@pytest.fixture
async def blocked_readiness() -> AsyncIterator[tuple[int, asyncio.Event, asyncio.Event]]:
    """Yield a port whose readiness blocks, an event set once 16 requests wait, and the one they wait for."""
    waiting, all_wait, decided = 0, asyncio.Event(), asyncio.Event()

    async def trouble() -> str:
        nonlocal waiting
        waiting += 1
        if waiting == 16:
            all_wait.set()
        await decided.wait()
        return ""

    probes = await HttpEndpoints.open("127.0.0.1", 0, bytes, trouble)
    yield probes.addresses[0][1], all_wait, decided
    await probes.close()


async def test_the_longest_silent_connection_is_closed_for_a_new_one(port: int) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(16)]
    assert await get(port, "/healthz") == (200, "ok\n")
    (reader, writer), *others = silent
    assert await reader.read() == b""
    writer.close()
    for reader, writer in others:
        writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert b"200 OK" in await reader.read()
        writer.close()


async def test_rendered_metrics_are_reused_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = itertools.count(1)
    probes = await HttpEndpoints.open("127.0.0.1", 0, lambda: b"%d\n" % next(asked), asyncio.Event().wait)  # type: ignore[arg-type]  # never asked
    port = probes.addresses[0][1]
    monkeypatch.setattr("clave_server.admin.http_endpoints.REUSE_SECONDS", 3600.0)
    assert [await get(port, "/metrics") for _ in range(3)] == [(200, "1\n")] * 3
    monkeypatch.setattr("clave_server.admin.http_endpoints.REUSE_SECONDS", 0.0)
    assert await get(port, "/metrics") == (200, "2\n")
    await probes.close()


async def test_a_port_in_use_is_named_in_the_error(port: int) -> None:
    with pytest.raises(StartError, match=f"port {port}"):
        await HttpEndpoints.open("127.0.0.1", port, bytes, asyncio.Event().wait)  # type: ignore[arg-type]  # never asked
