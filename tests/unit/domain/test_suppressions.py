"""Suppression lists: one person, one fingerprint, however they are written."""

import hashlib
from datetime import UTC, datetime

import pytest

from opportune.domain.suppressions import NAMING, ListedBy, digest_of, keys_of, listed, named

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("how", "spellings"),
    [
        ("email", [" Ada@Example.ORG", "ada@example.org", "ADA@EXAMPLE.ORG\n"]),
        ("phone", ["+44 20 7946-0958", "0044 (20) 79460958", "+442079460958"]),
    ],
)
def test_every_spelling_is_the_same_entry(how, spellings):
    """Case and spaces in addresses, brackets, dashes and 00 in numbers; and the hash a partner hands over."""
    entries = {named(how, text, "all", True, "x", NOW).entry.key for text in spellings}
    plain = {"email": "ada@example.org", "phone": "+442079460958"}[how]
    hashed = named(f"{how}_sha256", hashlib.sha256(plain.encode()).hexdigest().upper(), "all", True, "x", NOW)
    assert entries == {hashed.entry.key}
    trait = {"email": "email", "phone": "phone"}[how]
    assert {hashed.entry.key} <= set(keys_of("c1", {trait: spellings[0]}))


def test_customer_ids_are_taken_as_they_are():
    """Two ids that differ by a space are two customers."""
    assert digest_of(ListedBy.CUSTOMER, "c1") != digest_of(ListedBy.CUSTOMER, " c1")
    assert named("customer_id", "c1", "all", True, "x", NOW).customer_id == "c1"


@pytest.mark.parametrize(
    ("how", "value"),
    [("email", "ada"), ("email", "@x"), ("email", "a@b@c"), ("phone", "call me"), ("phone", "1"),
     ("email_sha256", "abc"), ("phone_sha256", "z" * 64), ("customer_id", "")],
)  # fmt: skip
def test_what_is_none_of_its_kind_is_refused(how, value):
    """With words that say what it should be."""
    assert how in NAMING
    with pytest.raises(ValueError, match="it is"):
        named(how, value, "all", True, "x", NOW)


def test_odd_traits_are_on_no_list_and_break_nothing():
    """Numbers, lists, half a surrogate pair where an address should be."""
    for odd in (7, None, ["a@b.c"], "nobody", "\ud800@x.y", ""):
        assert len(keys_of("c1", {"email": odd, "phone": odd})) == 1
    entry = named("email", "a@b.c", "all", True, "x", NOW).entry
    assert listed("c1", {"email": "A@b.c"}, {entry.key: entry}) == [entry]
    assert not listed("c1", {"email": "x@b.c"}, {entry.key: entry})
