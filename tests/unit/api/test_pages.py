"""Customers' pages: whole in themselves, safe to show anything in, in every language we have words for."""

import base64
import hashlib
import re
from string import Formatter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import Response

from opportune.api import pages
from opportune.api.page_texts import TEXTS, language_of
from opportune.api.routes_links import changed_in, form_of
from opportune.flows.preferences import Preferences, Row

SHOWN = Preferences(
    [Row("news", "", {"email": "in", "sms": "out"}), Row("offers", "Offers", {"email": "closed"})], True, None
)


def every_page(language: str, text: str = "offers") -> list[Response]:
    shown = Preferences([Row("news", text, {"email": "in"})], False, None)
    return [
        pages.unsubscribe_page(language, "email", None, None),
        pages.unsubscribe_page(language, "email", text, f"../preferences/{text}"),
        pages.unsubscribed_page(language, "sms", text, None),
        pages.preferences_page(language, shown, "saved"),
        pages.preferences_page(language, Preferences([], True, None)),
        pages.refusal_page(language, "invalid", 404),
        pages.refusal_page(language, "stale", 410),
    ]


def test_every_language_has_every_word_with_the_same_blanks() -> None:
    """A block with a missing key or another blank would break a page."""

    def blanks(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    for words in TEXTS.values():
        assert {key: blanks(text) for key, text in words.items()} == {k: blanks(t) for k, t in TEXTS["en"].items()}
        assert all(words.values())


@pytest.mark.parametrize("language", TEXTS)
def test_a_page_is_whole_in_itself(language: str) -> None:
    """No script, nothing loaded, nothing kept, no way to frame it; its style is the one its policy allows."""
    for page in every_page(language):
        html = bytes(page.body).decode()
        assert f'<html lang="{language}">' in html
        assert not re.search(r"<script|<img|<link|@import|url\(|https?:|//", html.replace("<!doctype", ""))
        style = re.search(r"<style>(.*?)</style>", html)
        assert style is not None
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        policy = page.headers["content-security-policy"]
        assert f"style-src 'sha256-{digest}'" in policy
        assert "default-src 'none'" in policy
        assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")
        assert html.count("<h1>") == 1
        assert html.count("<label>") == html.count("type=checkbox")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_whatever_a_topic_is_called_it_stays_text(text: str) -> None:
    """Values are escaped where they are written."""
    for page in every_page("en", f"<b>'\"{text}</b>"):
        assert "<b>" not in bytes(page.body).decode()


def test_boxes_show_what_holds_and_say_what_they_showed() -> None:
    """Ticked, not ticked, and locked; locked ones are not sent back."""
    html = bytes(pages.preferences_page("en", SHOWN).body).decode()
    assert re.findall(r'name="on" value="([^"]+)"([^>]*)>', html) == [
        ("email/news", " checked"), ("sms/news", ""), ("email/offers", " disabled"),
    ]  # fmt: skip
    assert re.findall(r'name="was" value="([^"]+)"', html) == [
        "on:email/news:in", "on:sms/news:out", "profiling:in:in",
    ]  # fmt: skip
    assert "News" in html


def test_only_what_differs_from_what_was_shown_is_a_change() -> None:
    """Ticked and taken off; what was not shown, or shown as something else, is nothing."""
    sent = b"was=on:email/news:in&was=on:sms/news:out&on=sms/news&was=profiling:in:in&profiling=in&on=push/x&was=odd"
    assert changed_in(form_of(sent)) == ({("email", "news"): False, ("sms", "news"): True}, None)
    assert changed_in(form_of(b"was=profiling%3Ain%3Ain&do=save")) == ({}, False)
    assert changed_in(form_of(b"was=profiling:in:out&profiling=in")) == ({}, True)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text("was=on&:/%inout", max_size=80).map(str.encode)))
def test_no_form_whatever_breaks_it(body: bytes) -> None:
    """What is no form has no fields."""
    changes, profiling = changed_in(form_of(body))
    assert all(len(key) == 2 for key in changes)
    assert profiling in (None, True, False)


def test_a_form_with_too_many_fields_is_none() -> None:
    """So that reading it costs little."""
    assert form_of(b"a=1&" * 5000) == []


@pytest.mark.parametrize(
    ("stated", "accepted", "language"),
    [
        (None, None, "en"),
        ("de_AT", "en", "de"),
        ("fr", "de-CH, en;q=0.5", "de"),
        (None, "fr, de;q=0.2, en;q=0.9", "en"),
        (None, "*;q=x,,;q=", "en"),
        ("", "xx" * 5000, "en"),
    ],
)
def test_the_customers_language_goes_before_the_browsers(
    stated: str | None, accepted: str | None, language: str
) -> None:
    """Then English."""
    assert language_of(stated, accepted) == language
