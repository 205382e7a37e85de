"""Suppression lists: customers, e-mail addresses and telephone numbers that get nothing, whatever anybody agreed to.

Only fingerprints are kept (SHA-256 of the value in one spelling), so that a list may hold people we do not know, may be
handed over hashed, and still holds after a customer was erased.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

_HEX = re.compile(r"^[0-9a-fA-F]{64}$")
_FILLERS = re.compile(r"[\s().\-/]")


class ListedBy(StrEnum):
    """What an entry names."""

    CUSTOMER = "customer_id"
    EMAIL = "email"
    PHONE = "phone"


#: What an entry names -> the channel it closes; a customer's closes all.
_CLOSES = {ListedBy.EMAIL: "email", ListedBy.PHONE: "sms"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One line of a suppression list. The newest line of a (`by`, `digest`) is in force; `is_on` false lifts it.

    `digest`: hex SHA-256 of the value in one spelling. `purpose`: `all` stops transactional messages too.
    """

    by: ListedBy
    digest: str
    purpose: Literal["all", "marketing"]
    is_on: bool
    source: str
    at: datetime

    @property
    def key(self) -> str:
        """What names the listed one: `by:digest`."""
        return f"{self.by.value}:{self.digest}"

    def stops(self, channel: str, is_transactional: bool) -> bool:
        """Whether it keeps back a message on this channel."""
        is_here = self.by is ListedBy.CUSTOMER or _CLOSES[self.by] == channel
        return self.is_on and is_here and (self.purpose == "all" or not is_transactional)

    def changes(self, in_force: "Suppression | None") -> bool:
        """Whether it says anything that does not hold already; null: nothing is in force."""
        if in_force is None:
            return self.is_on
        return (self.is_on, self.purpose) != (in_force.is_on, in_force.purpose)

    def moved(self, customer_id: str) -> "Suppression":
        """The same about another customer (a merge)."""
        return replace(self, digest=digest_of(ListedBy.CUSTOMER, customer_id))


@dataclass(frozen=True, slots=True)
class Named:
    """One who is named on a list. `customer_id` null: named by a fingerprint, an address or a number."""

    entry: Suppression
    customer_id: str | None = None


#: How lists name people -> what that is, and whether it is a fingerprint already.
NAMING: Mapping[str, tuple[ListedBy, bool]] = {
    "customer_id": (ListedBy.CUSTOMER, False),
    "email": (ListedBy.EMAIL, False),
    "phone": (ListedBy.PHONE, False),
    "email_sha256": (ListedBy.EMAIL, True),
    "phone_sha256": (ListedBy.PHONE, True),
}


def named(how: str, value: str, purpose: Literal["all", "marketing"], is_on: bool, source: str, at: datetime) -> Named:
    """The one whom a list names so. `how`: a key of NAMING. Raises ValueError when the value is none of that kind."""
    by, is_digest = NAMING[how]
    digest = read_digest(value) if is_digest else digest_of(by, value)
    entry = Suppression(by=by, digest=digest, purpose=purpose, is_on=is_on, source=source, at=at)
    return Named(entry, value if by is ListedBy.CUSTOMER else None)


def digest_of(by: ListedBy, value: str) -> str:
    """The fingerprint of a value: an e-mail address in lower case, a number as `+` and digits. Raises ValueError."""
    return hashlib.sha256(_spelt(by, value).encode()).hexdigest()


def read_digest(text: str) -> str:
    """A fingerprint made elsewhere, in lower case. Raises ValueError."""
    if not _HEX.match(text.strip()):
        raise ValueError("it is no SHA-256 in hex: 64 characters from 0 to 9 and a to f")
    return text.strip().lower()


def _spelt(by: ListedBy, value: str) -> str:
    text = value.strip()
    if by is ListedBy.EMAIL:
        if text.count("@") != 1 or text.startswith("@") or text.endswith("@"):
            raise ValueError("it is no e-mail address, like ada@example.org")
        return text.lower()
    if by is ListedBy.PHONE:
        text = _FILLERS.sub("", text)
        text = f"+{text[2:]}" if text.startswith("00") else text
        if not re.fullmatch(r"\+?[0-9]{3,20}", text):
            raise ValueError("it is no telephone number, like +44 20 7946 0958")
        return text
    if not value:
        raise ValueError("it is empty")
    return value


def keys_of(customer_id: str, traits: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys under which a customer may be listed: by id, address and number. What is no address lists nobody."""
    keys = [f"{ListedBy.CUSTOMER.value}:{digest_of(ListedBy.CUSTOMER, customer_id)}"] if customer_id else []
    for by, trait in ((ListedBy.EMAIL, "email"), (ListedBy.PHONE, "phone")):
        value = traits.get(trait)
        if isinstance(value, str) and value:
            try:
                keys.append(f"{by.value}:{digest_of(by, value)}")
            except ValueError:  # an address that cannot be one is on no list
                continue
    return tuple(keys)


def listed(customer_id: str, traits: Mapping[str, Any], known: Mapping[str, Suppression]) -> Sequence[Suppression]:
    """The entries among `known` (by key) that name this customer."""
    return [known[key] for key in keys_of(customer_id, traits) if key in known] if known else ()
