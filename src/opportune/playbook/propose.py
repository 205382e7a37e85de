"""From a look at somebody's file to a first proposal: a column mapping, goals, triggers, and what reach to expect.

Guessed from the names and values of columns, and said so: whoever reads it decides. Pure.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opportune.playbook.columns import Column, Profile
from opportune.playbook.starter import playbook_text

#: Words in what a file calls an event -> the name Opportune and the e-commerce specification use; first match counts.
_EVENTS: Sequence[tuple[str, str]] = (
    (r"refund|return", "Order Refunded"),
    (r"cancel", "Order Cancelled"),
    (r"remove|delete.*cart", "Product Removed"),
    (r"checkout", "Checkout Started"),
    (r"cart|basket|add", "Product Added"),
    (r"purchase|order|buy|bought|sale|transaction|checkout.?complete|payment", "Order Completed"),
    (r"search", "Products Searched"),
    (r"list|category", "Product List Viewed"),
    (r"view|product|detail|impression", "Product Viewed"),
    (r"sign.?up|register|registration|account.?created|join", "Signed Up"),
    (r"page|visit|session", "Page Viewed"),
    (r"unsubscribe", "Unsubscribed"),
    (r"open", "Email Opened"),
    (r"click", "Email Link Clicked"),
)
#: our name -> words in a column's name, in order of preference.
_PROPERTIES: Sequence[tuple[str, str]] = (
    ("order_id", r"^(order|invoice|transaction|receipt|basket)_?(id|no|number|nr)?$"),
    ("cart_id", r"^(cart|session)_?(id|no)?$"),
    ("total", r"^(total|revenue|amount|order_?value|order_?total|value|gross|net|sum)$"),
)
_PRODUCT: Sequence[tuple[str, str]] = (
    ("product_id", r"^(product|item|sku|article|stock)_?(id|code|no|number)?$"),
    ("name", r"^(product|item)_?name$|^description$|^title$"),
    ("category", r"^(product_?)?category(_?(id|code|name))?$"),
    ("price", r"^(unit_?)?price$"),
    ("quantity", r"^(quantity|qty|units|count)$"),
)
_TRAITS: Sequence[tuple[str, str]] = (
    ("email", r"e?mail(_?address)?$"),
    ("phone", r"^(phone|mobile|tel)"),
    ("timezone", r"time_?zone|^tz$"),
    ("first_name", r"^(first|given)_?name$"),
    ("country", r"^country(_?code)?$"),
    ("city", r"^city$"),
)
_NUMERIC = ("price", "total", "quantity")
_USER = (r"^(customer|user|client|member|subscriber|contact|account|buyer)s?_?(id|no|number|key|code|ref)?$", r"_?id$")
_ANONYMOUS = (r"^(anonymous|visitor|device|cookie|fullvisitor)_?(id)?$",)
_TIME = (r"^(event_?)?(timestamp|time|date|datetime|at|ts)$", r"(time|date|_at|_on|ts)$", r"")
_EVENT = (r"^(event|action|activity)(_?(name|type))?$|^type$|^behaviou?r$", r"event|action|type$|status$")


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to write: the mapping and the playbook as YAML with comments; `notes` for the reader, one line each."""

    mapping: str
    playbook: str
    notes: tuple[str, ...]


def propose(profile: Profile, file: str, delimiter: str = ",") -> Proposal:
    """A proposal for a file. Raises ValueError when no column can be who or when: nothing can be proposed then.

    `delimiter` parts its cells.
    """
    if not profile.n_rows:
        raise ValueError(f"{file} holds no rows: give a file with at least a few hundred events")
    left = {c.name: c for c in profile.columns if c.n_filled}
    when = _take(left, _TIME, lambda c: c.share("instant") >= 0.8 or c.format is not None or _epoch(c) is not None)
    who = _take(left, _USER, lambda c: c.n_filled > 0.02 * profile.n_rows and c.share("list", "instant") == 0)
    anonymous = _take(left, _ANONYMOUS, lambda c: True)
    if when is None or (who is None and anonymous is None):
        missing = "when it happened (a date or time)" if when is None else "whose event it is (a customer id)"
        raise ValueError(f"{file}: no column says {missing}; it has: {', '.join(c.name for c in profile.columns)}")
    named = _take(left, _EVENT, lambda c: c.share("text") > 0.9 and len(c.values) <= 200 and not c.is_full)
    events = {value: _event_of(value) for value, _ in named.values.most_common()} if named else {}
    constant = None if named else _constant(left)
    traits = _match(left, _TRAITS)
    product = _match(left, _PRODUCT)
    properties = _match(left, _PROPERTIES)
    properties.update({_name(c): c for c in left.values() if c.share("list") == 0})
    known = [e for e in events.values() if e] if named else [constant or ""]
    owner = who or anonymous
    assert owner is not None  # asked above
    notes = _notes(profile, when, owner, named, events, traits, known)
    mapping = _mapping(file, profile, when, who, anonymous, named, events, constant, properties, product, traits)
    if delimiter != ",":
        mapping += f"delimiter: {json.dumps(delimiter)}\n"
    return Proposal(mapping, playbook_text(set(known), set(traits)), tuple(notes))


def _take(left: dict[str, Column], patterns: Sequence[str], fits: Callable[[Column], bool]) -> Column | None:
    """The first column whose name matches, by the order of patterns, and that fits; taken out of what is left."""
    for pattern in patterns:
        for name, column in left.items():
            if re.search(pattern, _plain(name)) and fits(column):
                return left.pop(name)
    return None


def _match(left: dict[str, Column], wanted: Sequence[tuple[str, str]]) -> dict[str, Column]:
    found = {}
    for ours, pattern in wanted:
        for name in list(left):
            if re.search(pattern, _plain(name)):
                found[ours] = left.pop(name)
                break
    return found


def _plain(name: str) -> str:
    """`InvoiceNo` and `invoice no` as `invoice_no`."""
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name.split(".")[-1])
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _name(column: Column) -> str:
    return _plain(column.name) or "column"


def _epoch(column: Column) -> str | None:
    """unix_s or unix_ms when every cell is a number of seconds or milliseconds between 2000 and 2100."""
    if column.share("integer", "number") < 1 or not column.n_filled:
        return None
    try:
        numbers = [float(v) for v in column.values]
    except ValueError:
        return None
    for form, scale in (("unix_s", 1), ("unix_ms", 1000)):
        if all(946_684_800 <= n / scale <= 4_102_444_800 for n in numbers):
            return form
    return None


def _event_of(value: str) -> str | None:
    """Our name for what a file calls an event; null when no word gives it away."""
    known = {name.lower(): name for _, name in _EVENTS}
    if value.lower() in known:
        return known[value.lower()]
    return next((name for pattern, name in _EVENTS if re.search(pattern, value.lower())), None)


def _constant(left: dict[str, Column]) -> str:
    """What every row of a file without an event column is: an order when money or an order number stands in it."""
    names = {_plain(name) for name in left}
    is_order = any(re.search(pattern, n) for _, pattern in (_PROPERTIES[0], _PROPERTIES[2]) for n in names)
    return "Order Completed" if is_order else "Page Viewed"


def _mapping(
    file: str,
    profile: Profile,
    when: Column,
    who: Column | None,
    anonymous: Column | None,
    named: Column | None,
    events: dict[str, str | None],
    constant: str | None,
    properties: dict[str, Column],
    product: dict[str, Column],
    traits: dict[str, Column],
) -> str:
    lines = [
        f"# How the rows of {file} become events. Guessed from its first {profile.n_rows:,} rows:",
        "# read every line before you import.   opportune ingest FILE --map THIS_FILE",
    ]
    if named:
        lines += [f"event_column: {_q(named.name)}", "event_names:            # what the file says -> event"]
        for value, ours in list(events.items())[:50]:
            n = f"# {named.values[value]:,} rows"
            lines.append(f"  {_q(value)}: {_q(ours or value)}".ljust(44) + n + ("" if ours else "; kept as it is"))
    else:
        lines.append(f"event: {_q(constant or '')}   # no column names an event: is every row one of these?")
    if who:
        lines.append(f"user_id: {_q(who.name)}")
    if anonymous:
        lines.append(f"anonymous_id: {_q(anonymous.name)}")
    lines.append(f"timestamp: {_q(when.name)}")
    form = _epoch(when) or (when.format if when.share("instant") < 0.8 else None)
    if form:
        both = " # day first: could it be month first?" if form.startswith("%d/%m") and _both(when, form) else ""
        lines.append(f"timestamp_format: {_q(form)}{both}")
    if not form or form.startswith("%"):
        lines.append("zone: UTC                # of times without an offset: is it the shop's own, like Europe/London?")
    for key, chosen in (("properties", properties), ("product", product), ("traits", traits)):
        if chosen:
            lines.append(
                f"{key}:"
                + (
                    "                 # an entry of `products` on orders, else the event's own properties"
                    if key == "product"
                    else ""
                )
            )
            lines += [f"  {_q(ours)}: {_q(column.name)}" for ours, column in chosen.items()]
    types = {}
    for ours, column in {**properties, **product}.items():
        if column.share("integer", "number") >= 0.6 and (ours in _NUMERIC or column.share("number") > 0):
            types[column.name] = "integer" if ours == "quantity" and column.share("integer") == 1 else "number"
    if types:
        lines.append("types:                   # what the text of these columns holds; text otherwise")
        lines += [f"  {_q(name)}: {kind}" for name, kind in types.items()]
        if any(c.n_commas for c in (*properties.values(), *product.values()) if c.name in types):
            lines.append('decimal: ","             # some numbers have their decimals after a comma')
    return "\n".join(lines) + "\n"


def _both(column: Column, form: str) -> bool:
    """Month first reads every cell just as well."""
    return column.formats[form.replace("%d/%m", "%m/%d")] == column.formats[form]


def _q(text: str) -> str:
    """A YAML scalar."""
    return text if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_ ]*", text) and not _is_word(text) else json.dumps(text)


def _is_word(text: str) -> bool:
    return text.lower() in ("true", "false", "null", "yes", "no", "on", "off", "nan")


def _notes(
    profile: Profile,
    when: Column,
    who: Column,
    named: Column | None,
    events: dict[str, str | None],
    traits: dict[str, Column],
    known: Sequence[str],
) -> list[str]:
    n = profile.n_rows
    people = f"{len(who.values):,}{'+' if who.is_full else ''}"
    notes = [
        f"looked at the first {n:,} rows: {people} customers in column '{who.name}', times in '{when.name}'",
    ]
    if who.n_filled < n:
        notes.append(
            f"{n - who.n_filled:,} of them ({(n - who.n_filled) / n:.0%}) have no '{who.name}': nobody's events"
        )
    if named:
        unknown = [value for value, ours in events.items() if ours is None]
        if unknown:
            notes.append(f"{len(unknown)} event name(s) mean nothing to us and are kept: {', '.join(unknown[:5])}")
    if "Order Completed" in known:
        notes.append("goal proposed: order (Order Completed); models and ranking need it")
    else:
        notes.append("no event looks like an order: declare your goal in the playbook, or nothing can be predicted")
    addressed = [(name, traits[name].n_filled / n) for name in ("email", "phone") if name in traits]
    if addressed:
        notes += [f"reach: {share:.0%} of rows carry {name}" for name, share in addressed]
    else:
        notes.append("reach: no address in this file, so no e-mail or SMS can leave: send traits (email) with identify")
    if "timezone" not in traits:
        notes.append("reach: no time zone in this file, so quiet hours hold in every zone: send the trait `timezone`")
    return notes
