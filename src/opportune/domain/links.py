"""Signed links: pages a customer opens without a key, named by a token that only we can have written.

A token is `1.<what it says>.<seal>`: base64url of compact JSON, and an HMAC-SHA256 of all before it, cut to 16 bytes,
under a key of its own for each kind of page. So a token for one page opens no other. It says who, on which channel,
about which topic, in which message, and when; it is signed, not encrypted.

A decision is pure and its log holds no live token: what is rendered has a slot where the token belongs, and the token
is written at the door, when a message is told to its caller or handed over (`written`).
"""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

VERSION = "1"
MAX_LENGTH = 4096
_SEAL_BYTES = 16


class Page(StrEnum):
    """The pages; the first part of their paths."""

    UNSUBSCRIBE = "unsubscribe"
    PREFERENCES = "preferences"


#: Stands in rendered texts for the token of a page. Nothing that encodes or escapes an address changes it.
SLOTS: Mapping[Page, str] = {page: f"opportune-{page.value}-token" for page in Page}
ONE_CLICK = "List-Unsubscribe=One-Click"


class LinkForged(ValueError):
    """No token of ours for this page: made up, cut, or of another page."""


class LinkStale(ValueError):
    """A token of ours that has outlived its lifetime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a token says. `message_id` null: not out of a message. `issued_at` to the second."""

    customer_id: str
    channel: str
    topic: str
    message_id: str | None
    issued_at: datetime


def seal(link: Link, page: Page, secret: bytes) -> str:
    """The token: letters, digits, `-`, `_` and `.` only. The same link and secret give the same token."""
    said = [link.customer_id, link.channel, link.topic, link.message_id, int(link.issued_at.timestamp())]
    text = json.dumps(said, separators=(",", ":")).encode()
    body = f"{VERSION}.{_armoured(text)}"
    return f"{body}.{_seal_of(body, page, secret)}"


def unseal(token: str, page: Page, secret: bytes, now: datetime, lifetime: timedelta) -> Link:
    """What the token says. Takes the same time whatever is wrong with the seal. Raises LinkForged, LinkStale."""
    body, _, given = token.rpartition(".")
    expected = _seal_of(body, page, secret)
    is_ours = hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
    if len(token) > MAX_LENGTH or not is_ours or not body.startswith(f"{VERSION}."):
        raise LinkForged("this is no link of ours, or it was cut")
    try:
        text = body.partition(".")[2]
        customer_id, channel, topic, message_id, issued_s = json.loads(_bare(text))
        issued_at = datetime.fromtimestamp(issued_s, UTC)
    except (ValueError, TypeError, OverflowError, OSError, binascii.Error) as fault:
        raise LinkForged("this link says nothing that can be read") from fault
    if now - issued_at > lifetime:
        raise LinkStale(f"this link was good for {lifetime.days} days")
    return Link(customer_id=customer_id, channel=channel, topic=topic, message_id=message_id, issued_at=issued_at)


def slots(public_url: str) -> dict[str, str]:
    """`unsubscribe_url` and `preferences_url` for templates, with slots for the tokens; none without a public URL."""
    if not public_url:
        return {}
    return {f"{page.value}_url": f"{public_url}/{page.value}/{slot}" for page, slot in SLOTS.items()}


def headers(channel: str, public_url: str) -> dict[str, str]:
    """The headers of RFC 8058 on a marketing e-mail, with a slot for the token; none elsewhere."""
    if channel != "email" or not public_url:
        return {}
    name, value = ONE_CLICK.split("=")
    page = Page.UNSUBSCRIBE
    return {"List-Unsubscribe": f"<{public_url}/{page.value}/{SLOTS[page]}>", f"{name}-Post": f"{name}={value}"}


def written(value: Any, link: Link, secret: bytes) -> Any:
    """The same texts (in mappings and lists, too) with every slot replaced by the token of this link."""
    if isinstance(value, str):
        for page, slot in SLOTS.items():
            if slot in value:
                value = value.replace(slot, seal(link, page, secret))
        return value
    if isinstance(value, Mapping):
        return {key: written(inner, link, secret) for key, inner in value.items()}
    return [written(inner, link, secret) for inner in value] if isinstance(value, list | tuple) else value


def _seal_of(body: str, page: Page, secret: bytes) -> str:
    key = hmac.digest(secret, f"link:{VERSION}:{page.value}".encode(), "sha256")
    return _armoured(hmac.digest(key, body.encode("utf-8", "replace"), "sha256")[:_SEAL_BYTES])


def _armoured(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bare(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
