"""Decisions survive the death of the process that made them."""

from datetime import datetime, timedelta
from pathlib import Path

from tests.acceptance.decisions import ask_while_killed, what_stands
from tests.acceptance.serving import Server

PLAYBOOK = """
topics: {offers: {purpose: marketing}}
consent: {default: {"*": in}}
caps: {six_a_day: {at_most: 6, in: 1d}}
triggers: {offer: {kind: request}}
campaigns:
  hello:
    trigger: offer
    topic: offers
    channels: [onsite]
    content: {onsite: {subject: Hi, body: "Hello {{ context.n }}", cta: Go, url: "https://shop.example"}}
"""


def test_an_acknowledged_decision_outlives_a_kill_and_its_key_gives_the_same_answer(tmp_path: Path) -> None:
    """kill -9 in a stream of decisions: each answered one is in the log, and asked again says the same bytes."""
    (tmp_path / "playbook").mkdir()
    (tmp_path / "playbook" / "playbook.yaml").write_text(PLAYBOOK)
    server = Server(tmp_path / "home", playbook=str(tmp_path / "playbook")).start()
    try:
        seen = ask_while_killed(server.wait(), n_kills=1, per_kill=300)
        assert len(seen.answers) >= 300
        assert seen.n_failed > 0
        stands = what_stands(server, seen)
        assert (stands.n_missing, stands.n_changed, stands.n_other_answer) == (0, 0, 0)
        for customer in range(40):  # a send that nobody was told of counts as well: the cap holds in every window
            sends = server.ask(f"/v1/customers/asked-{customer}")[1]["sends"]
            at = sorted(datetime.fromisoformat(send["send_at"]) for send in sends)
            assert all(later - first >= timedelta(days=1) for first, later in zip(at, at[6:], strict=False))
    finally:
        server.stop()
