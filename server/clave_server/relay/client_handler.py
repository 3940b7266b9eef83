"""Handles the messages of one client: login, directory requests, and room messages for the sequencer.

Knows no bytes, no sockets and no SQL; what it uses of the relay is in `RelayContext`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, cast

import structlog

from clave_host.clock import now_ms
from clave_server.accounts import directory, revocations
from clave_server.accounts.directory import Applicant, Enrolment
from clave_server.accounts.registration import verify_login
from clave_server.errors import Refusal, ServerError
from clave_server.limits.quotas import Usage
from clave_server.net.transport import LOST, ClientTransport
from clave_server.observe.mirror import ConnectionRecord
from clave_server.relay import devices
from clave_server.relay.context import RelayContext
from clave_server.relay.freeing import FreedAccount, free_account
from clave_server.relay.link_search import find_link
from clave_server.rooms.catchup import InvitationFeed
from clave_server.rooms.invitations import take_invitation
from clave_server.rooms.session import MAX_STREAMS, Session
from clave_server.rooms.write_batch import RoomMessage, Step
from clave_wire.messages import (
    PING,
    Account,
    ClaimKeyPackages,
    Code,
    CreateRoom,
    DeleteAccount,
    Done,
    FindLink,
    FindRevocations,
    Goodbye,
    KeyPackages,
    LoggedIn,
    Login,
    Lookup,
    Mend,
    NextCertificate,
    Offer,
    OpenPairing,
    Passed,
    PassOn,
    PublishKeyPackages,
    Refused,
    RemoveDevice,
    Resume,
    Revocations,
    Submit,
    TakeInvitation,
    ToClient,
    ToRelay,
)

__all__ = ["ClientHandler"]

_ROOM_MESSAGES: Final = frozenset({CreateRoom, Submit, Mend})
_MAX_RUNNING: Final = 4
"""Directory requests of one connection that run at a time."""

_OfDevices = OpenPairing | RemoveDevice | FindRevocations
_DirectoryRequest = (
    Lookup | PublishKeyPackages | ClaimKeyPackages | TakeInvitation | DeleteAccount | FindLink | _OfDevices
)
_log = structlog.get_logger()


class ClientHandler:
    """The `transport.Client` of one connection; `announcement` returns that of the next certificate."""

    def __init__(self, context: RelayContext, announcement: Callable[[], NextCertificate | None]) -> None:
        self._context = context
        self._announcement = announcement
        self._transport: ClientTransport
        self._session: Session | None = None
        self._feed: InvitationFeed | None = None
        self._delayed: asyncio.TimerHandle | None = None
        self._requests: deque[tuple[_DirectoryRequest, int]] = deque()
        self._running = 0
        self._is_counted = False
        self._ended = False

    # --- called by the transport ---------------------------------------------------------------------------

    def connected(self, transport: ClientTransport) -> None:
        """Count the connection, or close it and say why."""
        self._transport = transport
        try:
            self._context.limits.add(transport.ip)
            self._is_counted = True
            self._context.counters.connections_accepted += 1
        except Refusal as refusal:
            self._context.counters.connections_refused[refusal.code] += 1
            transport.close(refusal.code, str(refusal), f"not let in: {refusal}")

    def received(self, messages: Sequence[ToRelay], size: int) -> None:
        """Handle messages in order, later if the account is over its rate."""
        session = self._session
        if session is None:
            for message in messages:
                if isinstance(message, Login):
                    self._log_in(message)
            return
        if wait := self._context.rate_delay(session, messages, size):
            self._transport.hold_reading(True)
            self._transport.count_delayed(size)
            loop = asyncio.get_running_loop()
            self._delayed = loop.call_later(wait, self._handle_delayed, messages, size)
        else:
            self._handle(session, messages, size)

    def _handle_delayed(self, messages: Sequence[ToRelay], size: int) -> None:
        """Handle messages that were over the rate, and resume reading."""
        self._delayed = None
        self._transport.count_delayed(0)
        self._transport.hold_reading(False)
        self.received(messages, size)

    def _handle(self, session: Session, messages: Sequence[ToRelay], size: int) -> None:
        if session.host:
            for message in messages:
                self._handle_paired(session, message)
        elif set(map(type, messages)) <= _ROOM_MESSAGES:
            self._context.sequencer.post(session, cast(Sequence[RoomMessage], messages), size)
        else:
            share = size // len(messages)
            for message in messages:
                self._handle_one(session, message, share)

    def _handle_one(self, session: Session, message: ToRelay, size: int) -> None:
        if isinstance(message, CreateRoom | Submit | Mend):
            self._context.sequencer.post(session, (message,), size)
        elif isinstance(message, Resume):
            if message.room in session.streams or len(session.streams) < MAX_STREAMS:
                self._context.sequencer.resume(session, message, size)
            else:
                text = f"a connection opens at most {MAX_STREAMS} rooms"
                self._refuse(message.id, Refusal(Code.LIMIT, text))
        elif isinstance(message, Offer):
            if self._transport.connection.has_links:
                self._context.sequencer.post(session, (message,), size)
        elif isinstance(message, PassOn | _OfDevices) and not self._transport.connection.has_devices:
            text = "several devices need version 7 of the protocol"
            self._refuse(message.id, Refusal(Code.BAD_REQUEST, text))
        elif isinstance(message, PassOn):
            self._pass_on(session, message)
        elif isinstance(message, FindLink) and not self._transport.connection.has_links:
            self._refuse(message.id, Refusal(Code.BAD_REQUEST, "links need version 7 of the protocol"))
        elif isinstance(message, Lookup) and message.name == PING:
            self._refuse(message.id, Refusal(Code.NO_SUCH_NAME, "nobody has this name here"))
        elif isinstance(message, _DirectoryRequest):
            session.begin(1, size)
            self._requests.append((message, size))
            self._start_requests()
        elif isinstance(message, Goodbye):
            self._transport.close_on_goodbye()

    def _handle_paired(self, session: Session, message: ToRelay) -> None:
        """Handle a message of a device that is being paired, which talks with one other device only."""
        if isinstance(message, PassOn):
            self._pass_on(session, message)
        elif isinstance(message, Lookup) and message.name == PING:
            self._refuse(message.id, Refusal(Code.NO_SUCH_NAME, "nobody has this name here"))
        elif isinstance(message, Goodbye):
            self._transport.close_on_goodbye()
        else:
            self._transport.close(
                Code.UNEXPECTED, "a device that is not paired yet asks for nothing", "unexpected"
            )

    def _pass_on(self, session: Session, message: PassOn) -> None:
        try:
            devices.pass_on(self._context, session, message)
        except Refusal as refusal:
            self._refuse(message.id, refusal)
        else:
            session.send(Done(message.id))

    def writable(self) -> None:
        """Continue sending entries, invitations and answers."""
        if self._session is not None and self._feed is not None:
            self._context.sequencer.catch_up.advance(self._session)
            self._feed.advance()
            self._start_requests()

    def ended(self, how: str) -> None:
        """End the session and stop counting the connection."""
        self._ended = True
        if self._delayed is not None:
            self._delayed.cancel()
        self._requests.clear()
        if self._is_counted:
            self._context.limits.remove(self._transport.ip)
        session = self._session
        if session is None:
            log = _log.debug if how == LOST else _log.info  # who only looks at the certificate hangs up
            log("connection ended before login", address=self._transport.address, reason=how)
            return
        session.over = True
        devices.close_pairing(self._context, session)
        if self._context.sessions.get(session.device) is session:
            del self._context.sessions[session.device]
        self._context.sequencer.end(session, how)
        self._context.quotas.remove_session(session.usage)
        self._context.mirror.show_connection(ConnectionRecord(session.name, session.address, how))

    # --- login ---------------------------------------------------------------------------------------------

    def _log_in(self, login: Login) -> None:
        transcript = self._transport.connection.transcript(self._transport.certificate, login.identity)
        if not login.identity and self._transport.connection.has_devices:
            self._log_in_paired(login, transcript)
            return
        try:
            applicant = verify_login(login, transcript)
            self._context.limits.bans.check_name(applicant.name)
        except Refusal as refusal:
            self._close(refusal)
            return
        find = partial(directory.find_device, applicant=applicant, now=self._package_time())
        self._context.reader.submit(find, partial(self._found, login, applicant))

    def _log_in_paired(self, login: Login, transcript: bytes) -> None:
        """Let a device in that has no certificate yet, to talk with the one that pairs it."""
        context, transport = self._context, self._transport
        try:
            host = devices.find_host(context, login, transcript)
        except Refusal as refusal:
            self._close(refusal)
            return
        self._session = session = self._make_session(
            login.device, host.name, context.quotas.add_session(host.usage.account, 0, 0)
        )
        session.host = host.device
        context.sessions[session.device] = session
        transport.logged_in(
            LoggedIn(session.name, False, [], transport.spread, context.incarnation, 0, now_ms())
        )
        context.mirror.show_connection(
            ConnectionRecord(session.name, session.address, "arrived to be paired")
        )
        host.send(Passed(session.device, b""))

    def _make_session(self, device: bytes, name: str, usage: Usage) -> Session:
        transport = self._transport
        return Session(
            device,
            usage,
            name,
            transport.address,
            transport.send_queue,
            transport.hold_reading,
            self._wake_invitations,
            transport.close,
            transport.connection.has_times,
            transport.connection.has_links,
            transport.connection.has_devices,
        )

    def _found(self, login: Login, applicant: Applicant, outcome: Enrolment | ServerError | None) -> None:
        if outcome is None:
            permit = partial(
                self._context.registration.check, login=login, name=applicant.name, ip=self._transport.ip
            )
            enrol: Step = partial(
                directory.enrol, applicant=applicant, permit=permit, now=self._package_time()
            )
            self._context.sequencer.submit(enrol, partial(self._enrolled, applicant))
        else:
            self._enrolled(applicant, outcome)

    def _enrolled(self, applicant: Applicant, outcome: Enrolment | ServerError) -> None:
        if self._ended:
            return
        try:
            if isinstance(outcome, ServerError):
                raise outcome
            self._context.limits.bans.check_name(applicant.name)  # it may have been banned meanwhile
            if applicant.account in self._context.freed:
                raise Refusal(Code.BAD_LOGIN, directory.freed_text(applicant.name))
            if (applicant.account, applicant.device) in self._context.removed:
                raise Refusal(Code.DEVICE_REMOVED, "your account removed this device")
        except ServerError as error:
            self._close(error)
            return
        former = self._context.sessions.get(applicant.device)
        if former is not None:
            former.close(Code.REPLACED, "this device connected again from elsewhere", "connected again")
        transport = self._transport
        usage = self._context.quotas.add_session(applicant.account, outcome.rooms, outcome.stored)
        session = self._make_session(applicant.device, applicant.name, usage)
        self._session = session
        self._context.counters.logins += 1
        self._context.counters.registrations += outcome.registered
        self._context.sessions[session.device] = session
        transport.logged_in(
            LoggedIn(
                session.name,
                outcome.registered,
                outcome.key_packages,
                transport.spread,
                self._context.incarnation,
                outcome.published,
                now_ms(),
            )
        )
        self._context.mirror.show_connection(
            ConnectionRecord(session.name, session.address, "registered" if outcome.registered else "arrived")
        )
        announcement = self._announcement()
        if announcement is not None:
            session.send(announcement)
        self._feed = InvitationFeed(self._context.reader, session)
        self._feed.advance()

    def _wake_invitations(self) -> None:
        if self._feed is not None:
            self._feed.wake()

    def _close(self, error: ServerError) -> None:
        code = _code_of(error)
        self._context.counters.logins_refused[code] += 1
        self._transport.close(code, str(error), f"login refused: {error}")

    def _package_time(self) -> int:
        """Return the seconds since 1970 by which key packages expire."""
        now = now_ms()
        if self._context.clock.is_doubted(now):
            return 0  # none has expired by then: a clock that jumped must not delete or hide them
        return now // 1000

    # --- directory ------------------------------------------------------------------------------------------

    def _start_requests(self) -> None:
        """Start waiting directory requests, a few at a time, as answers are larger than requests."""
        session = self._session
        while (
            session is not None
            and self._requests
            and self._running < _MAX_RUNNING
            and session.send_queue.writable
        ):
            request, size = self._requests.popleft()
            self._running += 1
            self._start_request(session, request, size)

    def _start_request(self, session: Session, request: _DirectoryRequest, size: int) -> None:
        sequencer, answered = self._context.sequencer, partial(self._answered, request, size)
        if isinstance(request, Lookup):
            look_up = partial(directory.look_up, name=request.name)
            self._context.reader.submit(look_up, partial(answered, partial(Account, request.id)))
        elif isinstance(request, PublishKeyPackages):
            publish = partial(
                directory.publish_key_packages,
                device=session.device,
                suite=request.suite,
                packages=request.packages,
                last_resort=request.last_resort,
                now=self._package_time(),
                replace=request.replace,
                not_after=request.not_after,
            )
            sequencer.submit(publish, partial(answered, lambda _: Done(request.id)))
        elif isinstance(request, ClaimKeyPackages):
            claim = partial(
                directory.claim_key_packages,
                name=request.name,
                suite=request.suite,
                now=self._package_time(),
                only=request.device,
            )
            sequencer.submit(claim, partial(answered, partial(KeyPackages, request.id)))
        elif isinstance(request, FindLink):
            find_link(self._context, session.device, request, partial(answered, lambda found: found))
        elif isinstance(request, OpenPairing):
            devices.open_pairing(
                self._context, session, request, partial(answered, lambda _: Done(request.id))
            )
        elif isinstance(request, RemoveDevice):
            devices.remove_device(
                self._context, session, request, partial(answered, lambda _: Done(request.id))
            )
        elif isinstance(request, FindRevocations):
            find = partial(revocations.find_revocations, name=request.name)
            self._context.reader.submit(find, partial(answered, partial(Revocations, request.id)))
        elif isinstance(request, DeleteAccount):
            free = partial(free_account, name=session.name, account=session.usage.account)
            sequencer.submit(free, partial(self._deleted, partial(answered, lambda _: Done(request.id))))
        else:
            take = partial(take_invitation, device=session.device, invitation=request.invitation)
            sequencer.submit(take, partial(self._taken, partial(answered, lambda _: Done(request.id))))

    def _deleted(self, answered: Callable[[Any], None], outcome: FreedAccount | ServerError) -> None:
        """Close the connections of an account that was deleted, this one once the answer is sent."""
        if not isinstance(outcome, ServerError):
            context = self._context
            context.freed.add(outcome.account)
            context.quotas.release(outcome.released)
            _log.info("account deleted", by="its owner", name=outcome.name, devices=outcome.devices)
            for session in list(context.sessions.values()):
                if session.usage.account == outcome.account and session is not self._session:
                    session.close(Code.BAD_LOGIN, directory.freed_text(outcome.name), "account deleted")
        answered(outcome)
        if not isinstance(outcome, ServerError):
            self._transport.close(Code.BAD_LOGIN, directory.freed_text(outcome.name), "account deleted")

    def _taken(self, answered: Callable[[Any], None], outcome: Counter[bytes] | ServerError) -> None:
        """Subtract the welcome of a taken invitation from its sender's stored bytes."""
        if not isinstance(outcome, ServerError):
            self._context.quotas.release(outcome)
        answered(outcome)

    def _answered(
        self, request: _DirectoryRequest, size: int, reply: Callable[[Any], ToClient], outcome: Any
    ) -> None:
        self._running -= 1
        session = self._session
        if session is None or session.over:
            return
        session.finish(1, size)
        if isinstance(outcome, ServerError):
            self._refuse(request.id, outcome)
        else:
            session.send(reply(outcome))
        self._start_requests()

    def _refuse(self, request: int, error: ServerError) -> None:
        if self._session is not None:
            self._session.send(Refused(request, _code_of(error), str(error)))


def _code_of(error: ServerError) -> Code:
    """Return the code for the client; log errors that are not the client's fault."""
    if isinstance(error, Refusal):
        return error.code
    _log.error("directory request failed", reason=str(error))
    return Code.STORAGE
