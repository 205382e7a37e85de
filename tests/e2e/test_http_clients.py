"""The published client libraries work unchanged with only the host set, against a real server on loopback."""

import base64
import gzip
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from tests.desks import desk_of

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.system_clock import WallClock
from opportune.api.app import create_app
from opportune.api.parts import Parts
from opportune.playbook.load import load_files
from opportune.settings import Settings


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, MemoryLedger]]:
    """A server that takes the write key `wk`; its URL and its ledger."""
    ledger = MemoryLedger()
    playbook = load_files({"playbook.yaml": b"topics: {offers: {}}"})
    desk = desk_of(playbook, ledger=ledger, clock=WallClock())
    app = create_app(Parts(settings=Settings(write_key="wk"), desk=desk, freeze=False))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(app, log_level="warning", loop="uvloop", http="httptools"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        deadline = time.monotonic() + 10
        while not running.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", ledger
        running.should_exit = True
        thread.join(10)


def names_of(ledger: MemoryLedger, customer_id: str) -> list[str]:
    with ledger.read() as uow:
        return [e.name for e in uow.events.of([customer_id]).get(customer_id, [])]


def send_all(client: Any, user: str) -> None:
    client.identify(user, {"email": f"{user}@example.com"})
    client.track(user, "Product Viewed", {"product_id": "p1"})
    client.page(user, "Shop", "Home", {"url": "https://shop.example"})
    client.group(user, "acme", {"plan": "pro"})
    client.flush()


def test_segment_python_delivers_everything_without_an_error(server: tuple[str, MemoryLedger]) -> None:
    from segment.analytics.client import Client

    url, ledger = server
    errors: list[object] = []
    client = Client("wk", host=url, on_error=lambda error, items: errors.append(error), max_retries=0, gzip=True)
    send_all(client, "seg1")
    client.join()
    assert not errors
    assert sorted(names_of(ledger, "seg1")) == ["Grouped", "Identified", "Page Viewed", "Product Viewed"]


def test_rudder_python_delivers_everything_without_an_error(server: tuple[str, MemoryLedger]) -> None:
    from rudderstack.analytics.client import Client

    url, ledger = server
    errors: list[object] = []
    client = Client("wk", host=url, on_error=lambda error, items: errors.append(error), max_retries=0, gzip=True)
    send_all(client, "rud1")
    client.join()
    assert not errors
    assert sorted(names_of(ledger, "rud1")) == ["Grouped", "Identified", "Page Viewed", "Product Viewed"]


def test_a_browser_beacon_with_the_key_in_its_body_is_taken(server: tuple[str, MemoryLedger]) -> None:
    url, ledger = server
    body = b'{"writeKey": "wk", "anonymousId": "beacon", "event": "Ping", "messageId": "b1"}'
    request = urllib.request.Request(f"{url}/v1/t", data=body, headers={"Content-Type": "text/plain"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert names_of(ledger, "anon:beacon") == ["Ping"]


def test_a_large_chunked_gzip_bomb_is_refused_and_the_server_goes_on(server: tuple[str, MemoryLedger]) -> None:
    url, _ = server
    host, port = url.removeprefix("http://").split(":")
    bomb = gzip.compress(b"[" + b" " * 100_000_000)
    with socket.create_connection((host, int(port)), timeout=10) as wire:
        head = (
            "POST /v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n"
            f"Authorization: Basic {base64.b64encode(b'wk:').decode()}\r\n\r\n"
        )
        wire.sendall(head.encode() + f"{len(bomb):x}\r\n".encode() + bomb + b"\r\n0\r\n\r\n")
        assert wire.recv(4096).startswith(b"HTTP/1.1 413")
    with urllib.request.urlopen(f"{url}/livez", timeout=10) as answer:
        assert answer.status == 200
