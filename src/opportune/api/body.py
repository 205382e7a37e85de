"""Bodies of the ingestion paths: streamed, unpacked and capped, so that a gzip bomb costs its cap at most."""

import zlib
from collections.abc import AsyncIterable

#: Bytes of one body after unpacking; what is packed may not be larger either.
MAX_BODY_BYTES = 4 * 1024 * 1024
#: What is refused half-way is read on so far and thrown away, so that the sender hears why instead of a reset.
MAX_UNHEARD_BYTES = 16 * 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 64 * 1024
_PLAIN = frozenset({"", "identity", "gzip", "x-gzip"})


class BodyUnreadable(Exception):
    """The whole body cannot be read: answer `status` (400 or 413) with `code` and `message`."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


async def read_body(stream: AsyncIterable[bytes], encoding: str | None, limit: int = MAX_BODY_BYTES) -> bytes:
    """The unpacked body. `encoding`: the Content-Encoding header. Memory: at most twice `limit`, whatever is sent.

    Whether it is gzip is read off its first bytes, because proxies unpack and forget the header, and clients pack and
    forget it. Raises BodyUnreadable: 413 `body_too_large`; 400 `encoding_unknown`, `gzip_damaged`.
    """
    chunks = aiter(stream)
    try:
        body = Unpacker(encoding, limit)
        async for chunk in chunks:
            body.feed(chunk)
        return body.finish()
    except BodyUnreadable:
        n_unheard = 0
        async for chunk in chunks:
            n_unheard += len(chunk)
            if n_unheard > MAX_UNHEARD_BYTES:
                break
        raise


class Unpacker:
    """The same for chunks that the caller has at hand: `feed` each, then `finish`."""

    def __init__(self, encoding: str | None, limit: int = MAX_BODY_BYTES) -> None:
        named = (encoding or "").strip().lower()
        if named not in _PLAIN:
            raise BodyUnreadable(
                "encoding_unknown", f"Content-Encoding {named[:40]!r} is not supported: send gzip, or nothing packed"
            )
        self._limit = limit
        self._head = b""
        self._inflate: zlib._Decompress | None = None
        self._is_open = False  # the first two bytes are there
        self._parts: list[bytes] = []
        self._size = 0
        self._taken = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk. Raises BodyUnreadable as soon as the limit is passed."""
        self._taken += len(chunk)
        if self._taken > self._limit:
            raise self._too_large()
        if not self._is_open:
            chunk = self._head + chunk
            if len(chunk) < len(_GZIP_MAGIC):
                self._head = chunk
                return
            self._is_open = True
            if chunk.startswith(_GZIP_MAGIC):
                self._inflate = zlib.decompressobj(wbits=31)
        if self._inflate is None:
            self._keep(chunk)
        else:
            self._unpack(chunk)

    def finish(self) -> bytes:
        """The whole body, once all chunks are in. Raises BodyUnreadable when gzip data end too early."""
        if not self._is_open:
            return self._head
        if self._inflate is not None and not self._inflate.eof:
            raise BodyUnreadable("gzip_damaged", "the gzip data end too early: send the whole body again")
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def _unpack(self, data: bytes) -> None:
        inflate = self._inflate
        assert inflate is not None
        try:
            while data:
                if inflate.eof:  # another gzip member follows
                    inflate = self._inflate = zlib.decompressobj(wbits=31)
                self._keep(inflate.decompress(data, _PIECE))
                data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        except zlib.error as error:
            raise BodyUnreadable(
                "gzip_damaged", f"the gzip data are damaged ({error}): send the whole body again"
            ) from None

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._size += len(piece)
            if self._size > self._limit:
                self._parts.clear()
                raise self._too_large()
            self._parts.append(piece)

    def _too_large(self) -> BodyUnreadable:
        return BodyUnreadable("body_too_large", f"the body is over {self._limit:,} bytes: send smaller batches", 413)
