"""One AMQP connection with one channel: pika's asynchronous client, driven from the calling thread.

pika's own blocking adapter waits for one confirm after each message, so we drive `SelectConnection` ourselves: callbacks only
note what came in, and `turn` and `pump` let pika read and write (`IOLoop.poll` and `process_timeouts`, its documented
extension points) and then raise what went wrong.

There is one way out of every failure. A connection that breaks, a channel that the broker closes (its consumer timeout, before
4.3), a consumer that it cancels (that timeout since 4.3, a deleted queue), a message that it returns or refuses: the link is
done for, every call raises the reason, and its owner opens another one. What was not acknowledged goes back to its queue.
"""

from __future__ import annotations

import contextlib
import functools
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import pika
import pika.exceptions
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from worker import log
from worker.brokers.amqp_errors import translated
from worker.config import Settings, without_password
from worker.errors import BrokerError, BrokerRefused, BrokerUnavailable

HEARTBEAT_SECONDS = 10
CONNECT_SECONDS = 10.0
REPLY_SECONDS = 30.0
CLOSE_SECONDS = 1.0
LOCK_RETRY_SECONDS = 0.5

RESOURCE_LOCKED = 405

OnMessage = Callable[[int, Mapping[str, Any], bytes], None]
"""Told the delivery tag, the headers and the body of a message that came in; it must not wait."""

logger = log.get("amqp")


class Link:
    """A connection and its channel in confirm mode; made open, used once, closed for good."""

    def __init__(self, settings: Settings, name: str) -> None:
        """Connect.

        Raises:
            BrokerUnavailable: nobody answers, or not now.
            BrokerRefused: waiting does not help (wrong password, no such vhost, a certificate that is not trusted).
        """
        parameters = _parameters(settings, name)
        self._url = without_password(settings.rabbitmq_url)
        self._error: BrokerError | None = None
        self._consumers: list[str] = []
        self._published = 0
        self._confirmed = 0  # every publish up to here is confirmed; `_unconfirmed` has the later ones that are not
        self._unconfirmed: dict[int, Callable[[], None] | None] = {}
        self._held: dict[int, None] = {}  # delivery tags that the broker waits for, ascending
        self._to_acknowledge: set[int] = set()
        self._blocked = False
        self._alarm: float | None = None
        self._loop = IOLoop()
        self._loop.activate_poller()
        self._connection = pika.SelectConnection(
            parameters,
            on_open_error_callback=lambda _connection, error: self._fail(error),
            on_close_callback=lambda _connection, error: self._fail(error),
            custom_ioloop=self._loop,
        )
        try:
            self._await("connect", lambda: self._connection.is_open, CONNECT_SECONDS)
            self._channel = self._open_channel()
        except BrokerError:
            self.close()
            raise

    def _open_channel(self) -> Channel:
        self._connection.add_on_connection_blocked_callback(self._on_blocked)
        self._connection.add_on_connection_unblocked_callback(self._on_unblocked)
        opened: list[Channel] = []
        channel = self._connection.channel(on_open_callback=opened.append)
        channel.add_on_close_callback(lambda _channel, error: self._fail(error))
        channel.add_on_cancel_callback(lambda _frame: self._fail("it cancelled the consumer"))
        channel.add_on_return_callback(lambda _channel, method, *_rest: self._fail(f"it has no queue {method.routing_key}"))
        self._await("open a channel", lambda: opened, REPLY_SECONDS)
        self._call("confirm publishes", functools.partial(channel.confirm_delivery, self._on_confirm))
        return channel

    # Moving on

    def turn(self, deadline: float = 0.0) -> None:
        """Read and write what can be; if nothing can, wait for that until `deadline` (`time.monotonic`).

        Raises:
            BrokerError: the link is done for.
        """
        if deadline <= time.monotonic():
            self._loop.call_later(0.0, _nothing)
        elif self._alarm is None or deadline < self._alarm:
            # A timer is never taken back: it is cheaper to be woken once too often than to fill pika's heap with cancelled ones.
            self._alarm = deadline
            self._loop.call_later(deadline - time.monotonic(), self._ring)
        self._loop.poll()
        self._loop.process_timeouts()
        self.check()
        if self._to_acknowledge:
            self._acknowledge()

    def pump(self, seconds: float, done: Callable[[], object]) -> bool:
        """Take turns, one at least, until `done()`, or until `seconds` are over: then the answer is False."""
        deadline = time.monotonic() + seconds
        while True:
            self.turn(deadline)
            if done():
                return True
            if time.monotonic() >= deadline:
                return False

    def pump_with(self, readable: Sequence[int], seconds: float, done: Callable[[], object]) -> None:
        """`pump`, until one of the file descriptors `readable` is, too."""
        woken: list[int] = []
        for descriptor in readable:
            self._loop.add_handler(descriptor, lambda ready, _events: woken.append(ready), IOLoop.READ)
        try:
            self.pump(seconds, lambda: woken or done())
        finally:
            for descriptor in readable:
                self._loop.remove_handler(descriptor)

    def _ring(self) -> None:
        self._alarm = None

    def _await(self, what: str, done: Callable[[], object], seconds: float) -> None:
        if not self.pump(seconds, done):
            self._fail(f"it did not {what} within {seconds:g} s")
            self.check()

    def _call(self, what: str, request: Callable[..., object]) -> Any:
        replies: list[Any] = []
        request(callback=replies.append)
        self._await(what, lambda: replies, REPLY_SECONDS)
        return replies[0].method

    # Queues

    def declare(self, queue: str, arguments: dict[str, Any]) -> int:
        """Make the durable queue if it is not there; how many messages in it are ready."""
        self.check()
        request = functools.partial(self._channel.queue_declare, queue, durable=True, arguments=arguments)
        return int(self._call(f"declare {queue}", request).message_count)

    def lock(self, name: str, seconds: float) -> bool:
        """Take the lock `name`, waiting for it up to `seconds`; it ends with `delete(name)`, or with the link.

        A lock is an exclusive queue, which belongs to one connection. (An exclusive consumer would not do: quorum queues admit
        a second one.)
        """
        self.check()
        deadline = time.monotonic() + seconds
        while not self._try_lock(name):
            if time.monotonic() >= deadline:
                return False
            self.pump(LOCK_RETRY_SECONDS, lambda: False)
        return True

    def _try_lock(self, name: str) -> bool:
        """To be refused costs the channel, so each try has one of its own."""
        replies: list[Exception | None] = []

        def on_open(channel: Channel) -> None:
            channel.add_on_close_callback(lambda _channel, error: replies.append(error))
            channel.queue_declare(name, exclusive=True, callback=lambda _frame: replies.append(None))

        channel = self._connection.channel(on_open_callback=on_open)
        self._await(f"declare {name}", lambda: replies, REPLY_SECONDS)
        error = replies[0]
        if error is None:
            channel.close()
            return True
        if getattr(error, "reply_code", None) != RESOURCE_LOCKED:
            self._fail(error)
            self.check()
        return False

    def delete(self, queue: str) -> None:
        self.check()
        self._call(f"delete {queue}", functools.partial(self._channel.queue_delete, queue))

    # Messages out

    def publish(self, queue: str, body: bytes, properties: BasicProperties, then: Callable[[], None] | None = None) -> None:
        """Publish to `queue`, at the next turn; `then` is called, in a later one, when the message is durable."""
        self.check()
        self._channel.basic_publish("", queue, body, properties, mandatory=True)
        self._published += 1
        self._unconfirmed[self._published] = then

    def await_confirms(self, fewer_than: int = 1) -> None:
        """Wait until fewer than `fewer_than` messages are not yet durable.

        A broker that blocks us for want of memory or disk may take as long as it needs; any other must confirm one now and then.
        """
        while (waiting := len(self._unconfirmed)) >= fewer_than:
            self.pump(REPLY_SECONDS, lambda: len(self._unconfirmed) < fewer_than)
            if len(self._unconfirmed) == waiting and not self._blocked:
                self._fail(f"it did not confirm a message within {REPLY_SECONDS:g} s")
                self.check()

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        if isinstance(method, Basic.Nack):
            self._fail("it could not keep a message")
        if self._error is not None:
            return  # the confirm that follows a return is none
        tag = method.delivery_tag
        for published in range(self._confirmed + 1, tag + 1) if method.multiple else (tag,):
            then = self._unconfirmed.pop(published, None)
            if then is not None:
                then()
        if method.multiple:
            self._confirmed = tag

    # Messages in

    def consume(self, queue: str, prefetch: int, on_message: OnMessage) -> None:
        """Subscribe to `queue`, once more if we already are: `prefetch` more messages may come before we acknowledge any."""
        self.check()

        def on_delivery(_channel: Channel, method: Any, properties: BasicProperties, body: bytes) -> None:
            self._held[method.delivery_tag] = None
            on_message(method.delivery_tag, properties.headers or {}, body)

        self._call("set the prefetch", functools.partial(self._channel.basic_qos, prefetch_count=prefetch))
        request = functools.partial(self._channel.basic_consume, queue, on_delivery)
        self._consumers.append(self._call(f"consume {queue}", request).consumer_tag)

    def cancel(self) -> None:
        """Unsubscribe; what was delivered stays ours."""
        self.check()
        while self._consumers:
            self._call("cancel a consumer", functools.partial(self._channel.basic_cancel, self._consumers.pop()))

    def get(self, queue: str) -> tuple[int, bytes]:
        """The first message of a queue that has one: its delivery tag and its body."""
        self.check()
        replies: list[tuple[Any, bytes]] = []
        self._channel.basic_get(queue, lambda _channel, method, _properties, body: replies.append((method, body)))
        self._await(f"hand over a message of {queue}", lambda: replies, REPLY_SECONDS)
        method, body = replies[0]
        self._held[method.delivery_tag] = None
        return method.delivery_tag, body

    def acknowledge(self, tag: int) -> None:
        """Remove a delivered message from its queue, at the next turn."""
        self._to_acknowledge.add(tag)

    def _acknowledge(self) -> None:
        done = self._to_acknowledge
        upto = count = 0
        for tag in self._held:
            if tag not in done:
                break
            upto, count = tag, count + 1
        if count:
            self._channel.basic_ack(upto, multiple=count > 1)
        for tag in done:
            if tag > upto:
                self._channel.basic_ack(tag)
            del self._held[tag]
        done.clear()

    # The end

    def check(self) -> None:
        """Raise what the link is done for."""
        if self._error is not None:
            raise self._error.with_traceback(None)  # it is raised again and again, and would keep every traceback

    def close(self) -> None:
        """Disconnect. Never raises."""
        self._fail("the connection was closed")
        if not self._connection.is_closed:
            if not self._connection.is_closing:
                self._connection.close()
            self._pump_until_closed()
        if not self._connection.is_closed:
            # pika has no public way to drop an open connection whose broker does not answer.
            self._connection._terminate_stream(  # type: ignore[attr-defined]  # private, so the stubs leave it out
                pika.exceptions.StreamLostError("the broker did not answer")
            )
            self._pump_until_closed()
        self._loop.close()

    def _pump_until_closed(self) -> None:
        deadline = time.monotonic() + CLOSE_SECONDS
        while not self._connection.is_closed and time.monotonic() < deadline:
            self._loop.call_later(max(0.0, deadline - time.monotonic()), _nothing)
            # pika (1.3.2, `BaseConnection._on_connection_workflow_done`) asserts when it gives up connecting just as we close.
            with contextlib.suppress(AssertionError):
                self._loop.poll()
                self._loop.process_timeouts()

    def _fail(self, reason: BaseException | str) -> None:
        if self._error is not None:
            return  # the first reason is the one that tells
        if isinstance(reason, str):
            self._error = BrokerUnavailable(f"RabbitMQ at {self._url}: {reason}")
        else:
            self._error = translated(reason, self._url)

    def _on_blocked(self, _connection: object, frame: Any) -> None:
        self._blocked = True
        logger.warning("RabbitMQ takes no messages for now, waiting: %s", frame.method.reason, extra={"action": "blocked"})

    def _on_unblocked(self, _connection: object, _frame: object) -> None:
        self._blocked = False
        logger.info("RabbitMQ takes messages again", extra={"action": "unblocked"})


def _nothing() -> None:
    """A timer that only ends a poll."""


def _parameters(settings: Settings, name: str) -> pika.ConnectionParameters:
    parts = urlsplit(settings.rabbitmq_url)
    host = parts.hostname or "localhost"
    tls = None
    if parts.scheme == "amqps":
        try:
            context = ssl.create_default_context(cafile=settings.broker_ca_file or None)
        except OSError as error:  # ssl.SSLError is one
            raise BrokerRefused(f"BROKER_CA_FILE={settings.broker_ca_file} cannot be used: {error}; name a PEM file") from error
        tls = pika.SSLOptions(context, server_hostname=host)
    return pika.ConnectionParameters(
        host=host,
        port=parts.port or (5671 if tls else 5672),
        virtual_host=unquote(parts.path[1:]) or "/",
        credentials=pika.PlainCredentials(
            settings.broker_username or unquote(parts.username or "guest"),
            settings.password or unquote(parts.password or "guest"),
        ),
        ssl_options=tls,
        heartbeat=HEARTBEAT_SECONDS,
        socket_timeout=CONNECT_SECONDS / 2,
        stack_timeout=CONNECT_SECONDS,
        connection_attempts=1,
        client_properties={"connection_name": name},
    )
