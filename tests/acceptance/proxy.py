"""A proxy that makes trouble on purpose: 503 to a seeded share of the requests, and a log of what was acknowledged.

Half of the 503 never reach the server; the other half are told to the client although the server has stored the
events, which is what a connection lost at the wrong moment looks like. A server that is down is 503 as well; a
connection that dies under a request is cut.
"""

import asyncio
import gzip
import random
import threading
from collections import Counter
from typing import Any

import orjson

_BUSY = b'{"code": "unavailable", "message": "trouble on purpose", "status": 503}'


class Proxy:
    """Listens on a free port of loopback and forwards to `port`. `share`: of requests answered 503, in [0, 1]."""

    def __init__(self, port: int, share: float, seed: int = 1) -> None:
        self._upstream, self._share, self._draw = port, share, random.Random(seed)
        self.acknowledged: Counter[str] = Counter()  # marker -> how often its 200 went to the client
        self.n_faults = self.n_hidden = self.n_down = self.n_cut = self.n_forwarded = 0
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(10)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client went away, or we are closing
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; false when the connection is to be cut."""
        head, body = await read_message(reader)
        fault = self._draw.random() < self._share
        hidden = self._draw.random() < 0.5
        self.n_faults += fault
        if fault and not hidden:
            return await self._answer(writer, busy())
        try:
            answer = await self._forward(head, body)
        except ConnectionRefusedError:
            self.n_down += 1
            return await self._answer(writer, busy())
        except (asyncio.IncompleteReadError, ConnectionError):
            self.n_cut += 1
            return False
        if fault:
            self.n_hidden += 1
            return await self._answer(writer, busy())
        is_sent = await self._answer(writer, answer)
        if answer.startswith(b"HTTP/1.1 200"):
            self.acknowledged.update(markers_of(body))
        return is_sent

    async def _forward(self, head: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream, limit=1 << 20)
        try:
            writer.write(plain_head(head, len(body)) + body)
            await writer.drain()
            self.n_forwarded += 1
            answer_head, answer_body = await read_message(reader)
            return answer_head + answer_body
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, answer: bytes) -> bool:
        writer.write(answer)
        await writer.drain()
        return True


def busy() -> bytes:
    """503 as a load balancer or our own server says it."""
    head = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: application/problem+json\r\n"
    return f"{head}Content-Length: {len(_BUSY)}\r\n\r\n".encode() + _BUSY


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """(head, body) of one HTTP/1.1 message with a length or in chunks; chunks are joined."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = fields_of(head)
    if "chunked" in fields.get("transfer-encoding", ""):
        parts = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return head, b"".join(parts)
    return head, await reader.readexactly(int(fields.get("content-length", "0")))


def fields_of(head: bytes) -> dict[str, str]:
    """Header fields, names in lower case."""
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


def plain_head(head: bytes, length: int) -> bytes:
    """The request's head with the body's length, and without what concerns only the connection to the client."""
    gone = ("content-length:", "transfer-encoding:", "connection:", "expect:")
    lines = [x for x in head.decode("latin-1").rstrip("\r\n").split("\r\n") if not x.lower().startswith(gone)]
    return "\r\n".join([*lines, f"Content-Length: {length}", "Connection: close", "", ""]).encode("latin-1")


def markers_of(body: bytes) -> list[str]:
    """The markers of a batch."""
    data: Any = orjson.loads(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)
    found = []
    for item in data.get("batch", []):
        inside = (item.get("context") or {}).get("traits")
        marks = {**(inside or {}), **(item.get("traits") or {}), **(item.get("properties") or {})}
        if "n" in marks:
            found.append(str(marks["n"]))
    return found
