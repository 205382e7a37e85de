"""Bodies: gzip or not, in pieces, capped."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import pytest

from opportune.api.body import BodyUnreadable, read_body

BODY = b'{"userId": "c1"}' * 100


def read(data: bytes, encoding: str | None = None, piece: int = 7, limit: int = 4 * 1024 * 1024) -> bytes:
    async def stream() -> AsyncIterator[bytes]:
        for i in range(0, len(data), piece):
            yield data[i : i + piece]

    return asyncio.run(read_body(stream(), encoding, limit))


def bomb() -> bytes:
    """300 MB of zeros in about 300 KB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    megabyte = bytes(1024 * 1024)
    return b"".join([*(packer.compress(megabyte) for _ in range(300)), packer.flush()])


@pytest.mark.parametrize("piece", [1, 2, 7, 10_000])
def test_gzip_and_plain_bodies_arrive_whole_however_they_are_cut(piece: int) -> None:
    assert read(BODY, None, piece) == BODY
    assert read(gzip.compress(BODY), "gzip", piece) == BODY
    assert read(gzip.compress(BODY[:50]) + gzip.compress(BODY[50:]), "gzip", piece) == BODY


def test_the_bytes_say_whether_it_is_gzip_even_when_the_header_lies() -> None:
    assert read(gzip.compress(BODY)) == BODY
    assert read(BODY, "gzip") == BODY
    assert read(b"", "gzip") == b""


def test_a_bomb_of_300_mb_costs_under_10_mb_and_is_413() -> None:
    data = bomb()
    tracemalloc.start()
    with pytest.raises(BodyUnreadable) as caught:
        read(data, "gzip", 65536)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (caught.value.code, caught.value.status) == ("body_too_large", 413)
    assert peak < 10 * 1024 * 1024


def test_the_limit_holds_for_plain_and_packed_bodies_to_the_byte() -> None:
    assert read(b"x" * 100, limit=100) == b"x" * 100
    assert read(gzip.compress(b"x" * 100), limit=100) == b"x" * 100
    for data in (b"x" * 101, gzip.compress(b"x" * 101)):
        with pytest.raises(BodyUnreadable):
            read(data, limit=100)


@pytest.mark.parametrize(
    "data", [gzip.compress(BODY, mtime=0)[:-9], b"\x1f\x8bnot gzip at all", gzip.compress(BODY, mtime=0)[:3]]
)
def test_damaged_gzip_is_400(data: bytes) -> None:
    with pytest.raises(BodyUnreadable) as caught:
        read(data, "gzip")
    assert (caught.value.code, caught.value.status) == ("gzip_damaged", 400)


def test_what_is_refused_half_way_is_read_on_but_not_for_ever() -> None:
    taken: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            taken.append(len(taken))
            yield bytes(64 * 1024)

    async def short() -> AsyncIterator[bytes]:
        for i in range(10):
            taken.append(i)
            yield b"x" * 20

    for stream, encoding, n in ((short(), None, 10), (short(), "br", 10), (endless(), None, 16 * 16 + 4)):
        taken.clear()
        with pytest.raises(BodyUnreadable):
            asyncio.run(read_body(stream, encoding, 100))
        assert len(taken) <= n
        assert len(taken) >= 10


def test_another_encoding_is_named() -> None:
    with pytest.raises(BodyUnreadable, match="br"):
        read(BODY, "br")
