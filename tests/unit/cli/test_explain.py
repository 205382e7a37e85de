"""opportune explain answers for any customer, campaign and moment, and for stored decisions."""

from pathlib import Path

import orjson
import pytest

from opportune.cli import main

EVENTS = """\
{"type": "identify", "userId": "ada", "messageId": "m1", "timestamp": "2026-01-05T12:00:00Z", "traits": {"email": "a@example.org", "timezone": "Europe/London"}}
{"type": "track", "userId": "ada", "event": "Product Added", "messageId": "m2", "timestamp": "2026-01-05T12:00:00Z", "properties": {"cart_id": "k1", "product_id": "p1", "price": 12}}
"""  # noqa: E501 - JSON lines


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home in which Ada left a small cart in January."""
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPPORTUNE_DATABASE_URL", raising=False)
    (tmp_path / "e.jsonl").write_text(EVENTS)
    assert run("ingest", str(tmp_path / "e.jsonl"), "--format", "segment") == 0


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


ASK = ("explain", "--customer", "ada", "--campaign", "cart_reminder", "--channel", "email")
AT = ("--at", "2026-01-05T13:00:00Z")


def test_a_past_moment_is_told_with_the_gate_and_what_opens_it(capsys: pytest.CaptureFixture[str]) -> None:
    """In words and as JSON."""
    capsys.readouterr()
    assert run(*ASK, *AT) == 0
    words = capsys.readouterr().out
    assert "cart_abandoned: by m2" in words
    assert "would be sent with: features.cart_value at least 30 (it is 12.0)" in words
    assert run(*ASK, *AT, "--json") == 0
    assert orjson.loads(capsys.readouterr().out)["remedies"][0]["would_be_sent"] is True


def test_what_if_takes_events_and_traits(capsys: pytest.CaptureFixture[str]) -> None:
    """With a second product it goes; as it was, it did not."""
    capsys.readouterr()
    more = '{"event": "Product Added", "properties": {"cart_id": "k1", "product_id": "p2", "price": 25}}'
    assert run(*ASK, *AT, "--event", more, "--trait", "first_name=Ada") == 0
    words = capsys.readouterr().out
    assert "SENT by email" in words
    assert "As it was:" in words


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("explain",), 2, "name a decision, or --customer and --campaign"),
        (("explain", "--customer", "ada", "--campaign", "nope"), 1, "no campaign 'nope'"),
        ((*ASK, "--at", "soon"), 2, "write 2026-10-31"),
        ((*ASK, "--trait", "gold"), 2, "write it like plan=gold"),
        ((*ASK, "--event", "{"), 2, "not JSON"),
        ((*ASK, "--event", "{}"), 2, "event is missing"),
        (("explain", "d-none"), 1, "no decision d-none"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    arguments: tuple[str, ...], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each names the option and what to do."""
    assert run(*arguments) == code
    assert says in capsys.readouterr().err
