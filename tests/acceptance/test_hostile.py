"""What careless and hostile senders post: refused with a reason, the same on every database, at no cost to others."""

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import pytest
from tests.acceptance.hostile import Hostile, bomb, corpus
from tests.acceptance.refused import BY_HTTP, IN_FILES, batch_with
from tests.acceptance.schema import explore
from tests.acceptance.serving import Server
from tests.acceptance.wire import send

from opportune.cli.ingest import ingest_files
from opportune.domain.refusals import RefusalCode
from opportune.settings import Settings
from opportune.wiring import Installation

pytestmark = pytest.mark.service


def test_no_hostile_body_gives_a_5xx_and_both_databases_say_the_same(pair: tuple[Server, Server]) -> None:
    """Several hundred bodies: status and codes agree between SQLite and PostgreSQL, never 5xx, never silence."""
    requests = corpus()
    assert len(requests) >= 200
    ports = [server.port for server in pair]
    with ThreadPoolExecutor(2) as both:
        for request in requests:
            first, second = both.map(send, ports, repeat(request))
            assert 200 <= first[0] < 500, (request.name, first)
            assert first == second, request.name
    for server in pair:
        assert server.ask("/v1/dead-letters?limit=1000")[0] == 200
        assert server.ask("/readyz")[0] == 200
    counts = []
    for server in pair:
        with server.ledger() as ledger, ledger.read() as uow:
            counts.append(len(uow.events.tail(None, 10_000)))
    assert counts[0] == counts[1]


def test_every_reason_for_a_refusal_is_met_here() -> None:
    """A new refusal code needs an example below."""
    assert {*BY_HTTP, *IN_FILES} == set(RefusalCode)


@pytest.mark.parametrize("code", sorted(BY_HTTP), ids=str)
def test_one_bad_event_in_a_hundred_is_refused_alone_and_explained(
    pair: tuple[Server, Server], code: RefusalCode
) -> None:
    """99 stored, 200, and the dead letter says what to mend."""
    body, field = batch_with(code)
    for server in pair:
        status, told = server.ask("/v1/batch", body, key="wk")
        assert (status, told["success"], told["accepted"]) == (200, True, 99)
        (refused,) = told["rejected"]
        assert (refused["index"], refused["code"]) == (42, code.value)
        letter = next(
            x for x in server.ask("/v1/dead-letters?limit=1000")[1]["dead_letters"] if x["code"] == code.value
        )
        assert letter["message"] == refused["message"]
        assert field in letter["message"]
        assert letter["body"]
        with server.ledger() as ledger, ledger.read() as uow:
            known = uow.events.known([f"{code.value}-{i}" for i in range(100)])
        assert known == {f"{code.value}-{i}" for i in range(100)} - {f"{code.value}-42"}


@pytest.mark.parametrize("code", sorted(IN_FILES), ids=str)
def test_one_bad_line_in_a_file_of_a_hundred_is_refused_alone_and_explained(
    pair: tuple[Server, Server], code: RefusalCode, tmp_path: Path
) -> None:
    """The same for the reasons that only files can give."""
    form, lines, field = IN_FILES[code]
    file = tmp_path / f"{code.value}.{'jsonl' if form == 'segment' else 'csv'}"
    file.write_text("\n".join(lines))
    installation = Installation(Settings(home=pair[0].home, database_url=pair[0].ledger_url))
    report = ingest_files(installation, (file,), form)
    installation.close()
    assert (report["n_accepted"], report["n_refused"]) == (99, 1)
    letter = next(x for x in pair[0].ask("/v1/dead-letters?limit=1000")[1]["dead_letters"] if x["code"] == code.value)
    assert field in letter["message"]


def test_a_bomb_of_300_mb_costs_the_server_under_10_mb(pair: tuple[Server, Server]) -> None:
    """Peak memory of the real process, packed body in one piece and in chunks."""
    server, data = pair[0], bomb(300)
    packed = (("Content-Encoding", "gzip"),)
    send(server.port, Hostile("first", bomb(1), headers=packed))
    for chunks in (None, 10_000):
        before = server.memory_kb()
        server.forget_peak()
        assert send(server.port, Hostile("bomb", data, headers=packed, chunks=chunks)) == (413, ("body_too_large",))
        assert server.memory_kb(peak=True) - before < 10 * 1024
    assert server.ask("/readyz")[0] == 200


def test_an_offer_to_change_the_protocol_does_not_cost_the_body(pair: tuple[Server, Server]) -> None:
    """Java's HTTP client offers HTTP/2 on an ordinary POST: the events in it count."""
    offer = (("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__"))
    good = b'{"type":"track","event":"X","userId":"java","messageId":"%s"}'
    for i, chunks in enumerate((None, 5)):
        body = b'{"batch":[' + good % f"java-{i}".encode() + b"]}"
        assert send(pair[0].port, Hostile("offer", body, headers=offer, chunks=chunks)) == (200, ())
    with pair[0].ledger() as ledger, ledger.read() as uow:
        assert uow.events.known(["java-0", "java-1"]) == {"java-0", "java-1"}


def test_made_up_requests_never_give_a_5xx_and_answers_are_as_documented(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    """schemathesis on the server's own document; `make bench-faults` runs 5,000 cases on each database."""
    found = explore(pair[0].url, tmp_path, per_operation=15, seed=1, key="ak", phases="examples,fuzzing")
    assert found.failures == ""
    assert found.n_cases >= 300
