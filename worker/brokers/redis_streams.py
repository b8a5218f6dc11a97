"""Redis Streams behind the contract: Redis 6.2 or newer, Valkey too.

A run has five keys, which share a hash tag and so live on one node of a cluster: the streams `tasks`, `results` and `dead`,
the sorted set `delayed` (by the millisecond it is due) and the string `seeded` (the position that seeding has reached). A
settled entry is deleted, so the length of a stream is the work outstanding.

What must happen together is one Lua script, `lua/*.lua`. `take.lua` is the loop's one round trip: it settles and fetches.
A lease is the idle time of a pending entry; looking for expired ones is part of `take.lua`, so there is no watchman.
"""

from __future__ import annotations

import math
import secrets
import select
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from worker.brokers.base import Delayed, Delivery, Depth, Queue
from worker.brokers.redis_client import NoGroup, RedisClient, Script
from worker.config import Settings
from worker.errors import BrokerError, BrokerUnavailable

GROUPS = {Queue.TASKS: "workers", Queue.RESULTS: "ledger", Queue.DEAD: "readers"}

LOOK_SECONDS = 0.5
"""Seconds between two looks for expired leases and released messages, and so the longest wait on the server."""

RELEASED = "released"
"""The consumer that holds what was released, until the next look of any worker."""

RELEASED_SILENCE = 365 * 24 * 3600 * 1000
"""Milliseconds that a released message counts as silent: longer than any lease. Redis takes a time before 1970 for now."""

FIRST = b"0-0"
"""Where a look begins, and what XAUTOCLAIM answers when it has come to the end."""

TAKE = Script("take")
HAND_ON = Script("hand_on")
DEAD_LETTER = Script("dead_letter")
SEED = Script("seed")
DEPTH = Script("depth")
MAKE_GROUPS = Script("make_groups")
LEAVE = Script("leave")


class RedisStreams:
    """The run's queues on Redis (`worker.brokers.base.Broker`)."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        run = f"ttg:{{{settings.run_id}}}"
        self._streams = {queue: f"{run}:{queue}" for queue in Queue}
        self._delayed = f"{run}:delayed"
        self._seeded = f"{run}:seeded"
        # A restarted pod has the name of the one before: with its consumer name too, what that one left would look alive.
        self._consumer = f"{name}-{secrets.token_hex(4)}"
        self._consumed = Queue.TASKS
        self._client: RedisClient | None = None
        self._settlements: list[list[Any]] = []  # arguments of take.lua, kept until the server has confirmed them
        self._look_from = FIRST
        self._look_at = 0.0  # on the monotonic clock, as the next one
        self._lenient_until = 0.0

    def open(self, consume: Queue | None = None) -> None:
        if self._client is not None:
            self._client.close()
            # While Redis was away nobody could renew a lease: each worker has the length of one to do so before we take it.
            self._lenient_until = time.monotonic() + self._settings.lease_seconds
        self._client = RedisClient(self._settings)
        self._consumed = consume or Queue.TASKS
        self._look_from, self._look_at = FIRST, 0.0
        self._make_groups(self._client)

    def publish(self, queue: Queue, bodies: Sequence[bytes]) -> None:
        stream = self._streams[queue]
        self._connected.commands(*(("XADD", stream, "*", "body", body) for body in bodies))

    def seed(self, position: int, bodies: Sequence[bytes], end: int) -> int:
        return int(self._script(SEED, [self._streams[Queue.TASKS], self._seeded], [position, end, *bodies]))

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout
        while True:
            deliveries, due = self._take(limit)
            left = deadline - time.monotonic()
            if deliveries or limit == 0 or left <= 0:
                return deliveries
            if deliveries := self._await(limit, min(left, due, LOOK_SECONDS)):
                return deliveries

    def pause(self) -> None:
        """Nothing to do: Redis sends nothing ahead."""

    def settle(self, delivery: Delivery, results: Sequence[bytes] = (), retries: Sequence[Delayed] = ()) -> None:
        settlement = [delivery.handle, len(results), *results, len(retries)]
        for retry in retries:
            settlement += [retry.delay * 1000, retry.body]
        self._settlements.append(settlement)

    def flush(self) -> None:
        if self._settlements:
            self._take(0)

    def extend(self, deliveries: Sequence[Delivery]) -> None:
        self._hand_on(deliveries, self._consumer, silence=0, take_back=0)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        # The next look of any worker counts one more delivery: one less now leaves the number unchanged.
        self._hand_on(deliveries, RELEASED, silence=RELEASED_SILENCE, take_back=1)

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        keys = [self._streams[self._consumed], self._streams[Queue.DEAD]]
        self._script(DEAD_LETTER, keys, [GROUPS[self._consumed], delivery.handle, delivery.body, reason])

    def depth(self) -> Depth:
        keys = [self._streams[Queue.TASKS], self._delayed, self._streams[Queue.RESULTS], self._streams[Queue.DEAD]]
        outstanding, in_flight, delayed, results, dead = self._script(DEPTH, keys, [GROUPS[Queue.TASKS], RELEASED])
        return Depth(outstanding - in_flight, in_flight, delayed, results, dead)

    def wait(self, readable: Sequence[int], timeout: float) -> None:
        poll = select.poll()  # select.select cannot watch a descriptor above 1023
        for descriptor in readable:
            poll.register(descriptor, select.POLLIN)
        poll.poll(math.ceil(max(timeout, 0.0) * 1000))

    def delete(self) -> None:
        self._connected.commands(("UNLINK", *self._streams.values(), self._delayed, self._seeded))

    def close(self) -> None:
        if self._client is None:
            return
        if self._client.connected:
            with suppress(BrokerError):  # one idle consumer too many does no harm
                self._client.script(LEAVE, [self._streams[self._consumed]], [GROUPS[self._consumed], self._consumer])
        self._client.close()
        self._client = None

    def _take(self, limit: int) -> tuple[list[Delivery], float]:
        """Settle, and up to `limit` deliveries without waiting; the seconds until a delayed message is due."""
        settlements = len(self._settlements)
        now = time.monotonic()
        looks = limit > 0 and now >= self._look_at
        leased = self._consumed is Queue.TASKS  # there are many workers, and one reader of the other queues
        keys = [self._streams[self._consumed], self._streams[Queue.TASKS], self._streams[Queue.RESULTS], self._delayed]
        entries, look_from, due = self._script(
            TAKE,
            keys,
            [
                GROUPS[self._consumed],
                self._consumer,
                limit,
                self._look_from if looks else "",
                self._silence(now) if leased else 0,
                *(argument for settlement in self._settlements for argument in settlement),
            ],
        )
        del self._settlements[:settlements]
        if looks:
            self._look_from = look_from
            if look_from == FIRST:
                self._look_at = now + LOOK_SECONDS if leased else math.inf
        deliveries = [Delivery(body, before, entry) for entry, body, before in entries]
        return deliveries, due / 1000 if due >= 0 else math.inf

    def _silence(self, now: float) -> int:
        """Milliseconds of silence after which a message is taken over."""
        if now < self._lenient_until:
            return RELEASED_SILENCE // 2  # only what was released
        return round(self._settings.lease_seconds * 1000)

    def _await(self, limit: int, timeout: float) -> list[Delivery]:
        """Up to `limit` new deliveries, waiting for the first one."""
        milliseconds = max(1, math.ceil(timeout * 1000))  # 0 would wait for ever
        stream = self._streams[self._consumed]
        who = ("GROUP", GROUPS[self._consumed], self._consumer)
        command = ("XREADGROUP", *who, "COUNT", limit, "BLOCK", milliseconds, "STREAMS", stream, ">")
        (reply,) = self._with_groups(lambda client: client.commands(command))
        return [Delivery(fields[1], 0, entry) for entry, fields in reply[0][1]] if reply else []

    def _hand_on(self, deliveries: Sequence[Delivery], heir: str, *, silence: int, take_back: int) -> None:
        if deliveries:
            arguments = [GROUPS[self._consumed], self._consumer, heir, silence, take_back]
            self._script(HAND_ON, [self._streams[self._consumed]], arguments + [delivery.handle for delivery in deliveries])

    def _script(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        return self._with_groups(lambda client: client.script(script, keys, arguments))

    def _with_groups(self, call: Callable[[RedisClient], Any]) -> Any:
        """The reply to `call`, which is repeated if the server was emptied meanwhile."""
        client = self._connected
        try:
            return call(client)
        except NoGroup:
            self._make_groups(client)
            return call(client)

    def _make_groups(self, client: RedisClient) -> None:
        client.script(MAKE_GROUPS, list(self._streams.values()), [GROUPS[queue] for queue in self._streams])

    @property
    def _connected(self) -> RedisClient:
        if self._client is None:
            raise BrokerUnavailable("the connection to Redis is not open")
        return self._client
