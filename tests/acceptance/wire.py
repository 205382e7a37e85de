"""Raw HTTP/1.1: what no client library would send, and the verdict that comes back."""

import socket
from contextlib import suppress
from typing import Any

import orjson
from tests.acceptance.hostile import Hostile

#: (status, codes): 0 when the server hung up without an answer.
Verdict = tuple[int, tuple[str, ...]]


def send(port: int, request: Hostile, timeout_s: float = 20) -> Verdict:
    """Post one request; status, and the codes of a problem or of the items refused. Timeouts raise OSError."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as wire:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has read all
            wire.sendall(bytes_of(request))
        try:
            return verdict_of(answer_on(wire))
        except ConnectionResetError:
            return 0, ()


def bytes_of(request: Hostile) -> bytes:
    """The request as bytes."""
    lines = [f"POST {request.path} HTTP/1.1", "Host: localhost", "Connection: close"]
    if not any(name == "Authorization" for name, _ in request.headers):
        lines.append("Authorization: Bearer wk")
    lines += [f"{name}: {value}" for name, value in request.headers]
    if request.chunks is None:
        lines.append(f"Content-Length: {request.length if request.length is not None else len(request.body)}")
        body = request.body
    else:
        lines.append("Transfer-Encoding: chunked")
        size = request.chunks
        parts = [request.body[i : i + size] for i in range(0, len(request.body), size)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def answer_on(wire: socket.socket) -> bytes:
    """All bytes until the server closes."""
    parts = []
    while piece := wire.recv(65536):
        parts.append(piece)
    return b"".join(parts)


def verdict_of(answer: bytes) -> Verdict:
    """Status and codes of an answer."""
    while answer.startswith(b"HTTP/1.1 100"):
        answer = answer.partition(b"\r\n\r\n")[2]
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        return 0, ()
    status = int(head[9:12])
    try:
        told: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return status, ()
    if "code" in told:
        return status, (str(told["code"]),)
    return status, tuple(f"{r['index']}:{r['code']}" for r in told.get("rejected", ()))
