"""`opportune init`: a small playbook that is right, and an honest proposal for somebody's file."""

from itertools import combinations
from pathlib import Path

import pytest

from opportune.playbook.columns import look
from opportune.playbook.load import load_files
from opportune.playbook.mapping import parse_mapping
from opportune.playbook.propose import propose
from opportune.playbook.starter import playbook_text

WEB = [
    {"Customer ID": f"c{n % 7}", "event_type": kind, "event_time": f"2026-01-{n % 28 + 1:02}T10:00:00Z", "price": "9.5"}
    | {"user_session": f"s{n}", "product_id": str(n), "email": f"c{n % 7}@example.org" if n % 2 else ""}
    for n, kind in enumerate(["view", "cart", "purchase", "zap"] * 20)
]


@pytest.mark.parametrize(
    "events", [set(c) for n in range(3) for c in combinations(("Product Added", "Order Completed", "Signed Up"), n)]
)
def test_every_playbook_written_passes_the_check_without_a_warning(events: set[str]) -> None:
    """One trigger and one cap, whatever events there are."""
    playbook = load_files({"playbook.yaml": playbook_text(events).encode()})
    assert playbook.warnings == ()
    assert (len(playbook.spec.triggers), len(playbook.spec.caps)) == (1, 1)
    assert playbook.spec.exploration.rate == 0


def test_a_proposed_mapping_can_be_used_as_it_is_and_says_that_it_was_guessed() -> None:
    """Who, when, what, money and reach of a web shop's export."""
    proposal = propose(look(WEB), "web.csv")
    how = parse_mapping(proposal.mapping.encode(), "web.yaml")
    assert (how.user_id, how.timestamp, how.event_column) == ("Customer ID", "event_time", "event_type")
    assert how.event_names == {
        "view": "Product Viewed", "cart": "Product Added", "purchase": "Order Completed", "zap": "zap",
    }  # fmt: skip
    assert how.product == {"product_id": "product_id", "price": "price"}
    assert how.types == {"price": "number"}
    assert "Guessed" in proposal.mapping
    notes = "\n".join(proposal.notes)
    assert "7 customers in column 'Customer ID'" in notes
    assert "mean nothing to us and are kept: zap" in notes
    assert "50% of rows carry email" in notes
    assert "no time zone" in notes
    assert "cart_abandoned" in load_files({"p": proposal.playbook.encode()}).spec.triggers


def test_a_table_of_orders_without_event_names_is_orders() -> None:
    """Month and day that could be either are pointed out; seconds since 1970 are recognised."""
    rows = [
        {"InvoiceNo": str(n), "CustomerID": n % 5, "InvoiceDate": "01/02/2026 10:00", "Amount": 5.5} for n in range(9)
    ]
    mapping = propose(look(rows), "till.csv").mapping
    how = parse_mapping(mapping.encode(), "m")
    assert (how.event, how.timestamp_format, how.properties["order_id"]) == (
        "Order Completed",
        "%d/%m/%Y %H:%M",
        "InvoiceNo",
    )
    assert "could it be month first?" in mapping
    epoch = propose(look([{"user": "a", "ts": 1767222000 + n, "action": "visit"} for n in range(9)]), "x.jsonl")
    assert parse_mapping(epoch.mapping.encode(), "m").timestamp_format == "unix_s"


def test_a_file_without_who_or_when_is_refused_with_what_is_missing() -> None:
    """No invented columns."""
    with pytest.raises(ValueError, match="no column says when it happened"):
        propose(look([{"customer": "c", "n": 1}]), "x.csv")
    with pytest.raises(ValueError, match="whose event it is"):
        propose(look([{"colour": "red", "date": "2026-01-01"}]), "x.csv")
    with pytest.raises(ValueError, match="holds no rows"):
        propose(look([]), "x.csv")


def test_init_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second time it names the file that is there, and leaves it alone."""
    from opportune.cli import main

    with pytest.raises(SystemExit) as done:
        main(["init", str(tmp_path / "shop")])
    assert done.value.code == 0
    assert "Next:" in capsys.readouterr().out
    (tmp_path / "shop" / "playbook.yaml").write_text("currency: EUR\n")
    with pytest.raises(SystemExit) as done:
        main(["init", str(tmp_path / "shop")])
    assert done.value.code == 1
    assert "stays as it is" in capsys.readouterr().err
    assert (tmp_path / "shop" / "playbook.yaml").read_text() == "currency: EUR\n"
