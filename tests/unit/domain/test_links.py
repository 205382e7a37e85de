"""Signed links: whole or nothing, good for one page and one lifetime."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.domain.links import (
    MAX_LENGTH,
    SLOTS,
    Link,
    LinkForged,
    LinkStale,
    Page,
    headers,
    seal,
    slots,
    unseal,
    written,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
YEAR = timedelta(days=365)
LINK = Link(customer_id="c42", channel="email", topic="offers", message_id="d-1-1", issued_at=NOW)
TOKEN = seal(LINK, Page.UNSUBSCRIBE, b"secret")
IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)


def opened(token: str, page: Page = Page.UNSUBSCRIBE, secret: bytes = b"secret", now: datetime = NOW) -> Link:
    return unseal(token, page, secret, now, YEAR)


@settings(max_examples=100, deadline=None)
@given(IDS, IDS, IDS, st.one_of(st.none(), IDS), st.sampled_from(Page))
def test_a_token_says_exactly_what_was_sealed(
    customer: str, channel: str, topic: str, message: str, page: Page
) -> None:
    """Any ids, in letters that no address encodes and no filter escapes."""
    link = Link(customer_id=customer, channel=channel, topic=topic, message_id=message, issued_at=NOW)
    token = seal(link, page, b"secret")
    assert opened(token, page) == link
    assert token.replace(".", "").replace("-", "").replace("_", "").isalnum()
    assert token.isascii()


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), st.from_regex(r"1\.[A-Za-z0-9_-]{0,80}\.[A-Za-z0-9_-]{22}", fullmatch=True)))
def test_no_text_whatever_opens_or_breaks_anything(token: str) -> None:
    """Forged is forged, and never another error."""
    with pytest.raises(LinkForged):
        opened(token)


def test_every_change_and_every_cut_is_refused() -> None:
    """One character of it changed anywhere, or cut off at either end."""
    for at in range(len(TOKEN)):
        other = "A" if TOKEN[at] != "A" else "B"
        for token in (TOKEN[:at] + other + TOKEN[at + 1 :], TOKEN[:at], TOKEN[at + 1 :]):
            with pytest.raises(LinkForged):
                opened(token)
    for token in (TOKEN + "=", TOKEN + ".", f" {TOKEN}", "1" + TOKEN, "x" * (MAX_LENGTH * 10), "\ud800.", "é"):
        with pytest.raises(LinkForged):
            opened(token)


def test_a_token_is_good_for_its_own_page_and_installation() -> None:
    """Replayed under the other path, or on another server, it is forged."""
    for page, secret in ((Page.PREFERENCES, b"secret"), (Page.UNSUBSCRIBE, b"other")):
        with pytest.raises(LinkForged):
            opened(TOKEN, page, secret)


def test_a_token_ends_with_its_lifetime() -> None:
    """Good to the last second, then stale."""
    assert opened(TOKEN, now=NOW + YEAR) == LINK
    with pytest.raises(LinkStale):
        opened(TOKEN, now=NOW + YEAR + timedelta(seconds=1))


def test_texts_hold_slots_until_they_leave() -> None:
    """The same in nested contents; without a slot nothing changes; without a public URL there is none."""
    urls = slots("https://x.example/p")
    content = {"body": f"<a href='{urls['unsubscribe_url']}'>", "parts": [urls["preferences_url"]], "n": 3}
    told = written({**content, "head": headers("email", "https://x.example/p")}, LINK, b"secret")
    assert told["body"] == f"<a href='https://x.example/p/unsubscribe/{TOKEN}'>"
    assert told["parts"] == [f"https://x.example/p/preferences/{seal(LINK, Page.PREFERENCES, b'secret')}"]
    assert told["head"] == {
        "List-Unsubscribe": f"<https://x.example/p/unsubscribe/{TOKEN}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert told["n"] == 3
    assert (slots(""), headers("email", ""), headers("sms", "https://x.example")) == ({}, {}, {})
    assert all(slot.replace("-", "").isalpha() for slot in SLOTS.values())
