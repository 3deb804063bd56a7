"""Clients of a server of speech, each with a simulated player, in one process that takes little processor time.

    python bench/load_client.py < plan.json > answers.json

bench/serve_load.py runs it. The plan is a JSON object: see `Plan`. The result: {"answers": [...], "cpu_seconds": N,
"wall_seconds": N}; see `Answer`. Only addresses of this machine are asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import random
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

_BYTES_PER_SECOND = 2 * 24000  # of pcm
_OK = 200


@dataclass
class Plan:
    """What to ask, and how much of it at most.

    host, port: of the server. bodies: JSON texts of `POST /v1/audio/speech`, asked in turn; the answer must be pcm.
    requests: how many in all. seconds: after which no request begins. answer_seconds: after which an answer is given
    up. clients: closed loop: so many clients, which ask again when the last answer is complete; the first requests are
    spread over `ramp` seconds. listen: whether they ask again only when their player has played the last answer. rate:
    open loop, in place of `clients`: requests per second at random moments, however many answers are not complete.
    seed: of the random moments.
    """

    host: str
    port: int
    bodies: list[str]
    requests: int
    seconds: float
    answer_seconds: float = 120.0
    clients: int = 0
    rate: float = 0.0
    ramp: float = 0.0
    listen: bool = False
    seed: int = 0


@dataclass
class Answer:
    """How an answer came and how it would be heard. Times are seconds since the first request was due.

    began, first, ended: when the request was sent, when the first audio came, and when the answer ended; first is None
    without audio. seconds: of audio. underruns: how often the player, which begins at the first audio, had nothing to
    play. late: how long it waited then, in all. error: why the answer is not complete, or None.
    """

    began: float
    first: float | None = None
    ended: float = 0.0
    seconds: float = 0.0
    underruns: int = 0
    late: float = 0.0
    error: str | None = None
    _due: float = field(default=0.0, repr=False)  # when the player will have played what came

    def heard(self, now: float, size: int) -> None:
        """Note that so many bytes of pcm came."""
        if self.first is None:
            self.first = self._due = now
        elif now > self._due:
            self.underruns += 1
            self.late += now - self._due
            self._due = now
        self.seconds += size / _BYTES_PER_SECOND
        self._due += size / _BYTES_PER_SECOND


class Connection(asyncio.Protocol):
    """A connection of HTTP/1.1 that asks one request at a time and knows only answers in chunks."""

    def __init__(self, start: float) -> None:
        self._start = start
        self._transport: Any = None
        self._answer: Answer | None = None
        self._ended: asyncio.Future[None] | None = None
        self._buffer = bytearray()
        self._in_body = False
        self._left = 0  # bytes of the current chunk that are missing, with its end of line

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    async def ask(self, head: bytes, body: bytes, answer: Answer, seconds: float) -> None:
        """Send a request, and note in `answer` how it is answered."""
        self._answer, self._in_body, self._left = answer, False, 0
        self._buffer.clear()
        self._ended = asyncio.get_running_loop().create_future()
        self._transport.write(head % len(body) + body)
        try:
            await asyncio.wait_for(self._ended, seconds)
        except asyncio.TimeoutError:
            self._end(f"not complete after {seconds:.0f} s")
        if answer.error is not None:
            self.close()

    @property
    def is_open(self) -> bool:
        """Whether the connection may be used again."""
        return not self._transport.is_closing()

    @property
    def played(self) -> float:
        """When the player has played the last answer."""
        return 0.0 if self._answer is None else self._answer._due

    def close(self) -> None:
        """Close the connection, also inside an answer."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or self._ended is None or self._ended.done():
            return
        now = time.perf_counter() - self._start
        self._buffer += data
        if not self._in_body and not self._take_head():
            return
        if size := self._take_chunks():
            answer.heard(now, size)

    def _take_head(self) -> bool:
        """Take the head out of the buffer. Returns whether a body follows now."""
        at = self._buffer.find(b"\r\n\r\n")
        if at < 0:
            return False
        head = bytes(self._buffer[:at]).lower()
        status = int(head.split(b" ", 2)[1])
        if status != _OK or b"transfer-encoding: chunked" not in head:
            self._end(f"status {status}: {bytes(self._buffer[at + 4 : at + 204]).decode(errors='replace')}")
            return False
        del self._buffer[: at + 4]
        self._in_body = True
        return True

    def _take_chunks(self) -> int:
        """Take what is there of the body out of the buffer. Returns how many bytes of it are audio."""
        buffer, size, at = self._buffer, 0, 0
        while at < len(buffer):
            if self._left:
                some = min(self._left, len(buffer) - at)
                # the last two bytes of a chunk are its end of line
                size += min(some, max(0, self._left - 2))
                self._left -= some
                at += some
                continue
            line = buffer.find(b"\r\n", at)
            if line < 0:
                break
            length = int(buffer[at:line], 16)
            at = line + 2
            self._left = length + 2
            if not length:
                self._end(None)
                break
        del buffer[:at]
        return size

    def _end(self, error: str | None) -> None:
        if self._answer is not None and self._ended is not None and not self._ended.done():
            self._answer.ended, self._answer.error = time.perf_counter() - self._start, error
            self._ended.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"connection lost: {error or 'closed'}")


class Clients:
    """All clients of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._answers: list[Answer] = []
        self._start = time.perf_counter()
        self._random = random.Random(plan.seed)
        host = f"Host: {plan.host}:{plan.port}\r\n".encode()
        self._head = b"POST /v1/audio/speech HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
        self._head += b"Content-Length: %d\r\n\r\n"

    async def run(self) -> list[Answer]:
        """Ask everything; returns the answers in the order of their requests."""
        plan = self._plan
        if plan.clients:
            moments = sorted(self._random.uniform(0, plan.ramp) for _ in range(plan.clients))
            await asyncio.gather(*map(self._closed, moments))
        else:
            tasks, due = [], 0.0
            while due < plan.seconds and len(tasks) < plan.requests:
                tasks.append(asyncio.create_task(self._once(due)))
                due += self._random.expovariate(plan.rate)
            await asyncio.gather(*tasks)
        return self._answers

    async def _until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - (time.perf_counter() - self._start)))

    async def _closed(self, moment: float) -> None:
        """One client of the closed loop."""
        connection = None
        await self._until(moment)
        while time.perf_counter() - self._start < self._plan.seconds and len(self._answers) < self._plan.requests:
            connection = await self._ask(connection)
            if connection is None:
                return
            if self._plan.listen:
                await self._until(connection.played)
        if connection is not None:
            connection.close()

    async def _once(self, moment: float) -> None:
        """One request of the open loop."""
        await self._until(moment)
        if (connection := await self._ask(None)) is not None:
            connection.close()

    async def _ask(self, connection: Connection | None) -> Connection | None:
        """Ask the next request on a connection, or on a new one. Returns the connection, or None without one."""
        plan = self._plan
        answer = Answer(time.perf_counter() - self._start)
        body = plan.bodies[len(self._answers) % len(plan.bodies)].encode()
        self._answers.append(answer)
        if connection is None or not connection.is_open:
            loop = asyncio.get_running_loop()
            try:
                _, connection = await loop.create_connection(lambda: Connection(self._start), plan.host, plan.port)
            except OSError as error:
                answer.ended, answer.error = time.perf_counter() - self._start, f"no connection: {error}"
                return None
        await connection.ask(self._head, body, answer, plan.answer_seconds)
        return connection


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    if not ipaddress.ip_address(plan.host).is_loopback:
        sys.exit(f"{plan.host}: is no address of this machine")
    clients, begin, used = Clients(plan), time.perf_counter(), time.process_time()
    answers = asyncio.run(clients.run())
    wall, used = time.perf_counter() - begin, time.process_time() - used
    with suppress(BrokenPipeError):
        shown = [{name: value for name, value in asdict(each).items() if name[0] != "_"} for each in answers]
        json.dump({"answers": shown, "cpu_seconds": used, "wall_seconds": wall}, sys.stdout)


if __name__ == "__main__":
    main()
