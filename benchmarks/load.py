"""A small HTTP load: N keep-alive connections, each one request after the other, raw bytes in and out."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """What one run saw. Latencies in milliseconds."""

    n: int
    n_errors: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return self.n / self.seconds


def request(path: str, body: bytes, headers: str = "") -> bytes:
    """One HTTP/1.1 POST as bytes."""
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json")
    head = "\r\n".join(lines) + f"\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    at = head.lower().index(b"content-length:")
    length = int(head[at + 15 : head.index(b"\r\n", at)])
    return status, await reader.readexactly(length)


async def _run(port: int, make: Callable[[int], bytes], seconds: float, connections: int) -> Load:
    taken: list[float] = []
    errors = 0
    counter = iter(range(10**9))
    started = time.perf_counter()

    async def one() -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() - started < seconds:
            at = time.perf_counter()
            writer.write(make(next(counter)))
            status, _ = await _read(reader)
            taken.append(time.perf_counter() - at)
            errors += status != 200
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    spent = time.perf_counter() - started
    taken.sort()
    ms = [taken[min(len(taken) - 1, int(len(taken) * q))] * 1000 for q in (0.5, 0.99)]
    return Load(len(taken), errors, spent, ms[0], ms[1], taken[-1] * 1000)


def run(port: int, make: Callable[[int], bytes], seconds: float = 8.0, connections: int = 16) -> Load:
    """Post `make(i)` on `connections` connections for `seconds`."""
    return asyncio.run(_run(port, make, seconds, connections))
