"""Who may hear from us: consent per channel and topic, suppression, consent to profiling. Pure; fails closed.

Lines are kept per scope (channel, topic), either of which may be `*`; the newest line of a scope is in force there.
For a message (c, t) the scopes (c, t), (c, *), (*, t) and (*, *) speak, and the strictest reading wins:
an opt-out holds until a NEWER opt-in INSIDE its scope lifts it. So after "unsubscribe from all", a later opt-in to one
topic lets that topic through and nothing else; and agreeing to e-mail in general never undoes an earlier opt-out from
one topic. Opt-out and opt-in at the same instant: the opt-out wins. No line at all: the playbook's default.

Suppression is about the address, not the wish: a line `out` whose source is `hard_bounce` closes its scope for
every purpose, one whose source is `complaint` for marketing; only a newer opt-in of the very same scope reopens it.
What a caller stamps on `identify` (source `consent_preferences`) is the state the caller knows, perhaps an old copy: an
`in` of that source never lifts an unsubscribe, a complaint or a bounce.
Transactional messages need no consent. `profiling` is not a message channel: `*` does not reach it.

Suppression lists are kept apart from what customers say: see domain/suppressions.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opportune.domain.customers import ANY, PREFERENCES, PROFILING, Consent, ConsentState, Customer
from opportune.domain.decisions import Reason
from opportune.domain.suppressions import Suppression
from opportune.playbook.countries import GROUPS, country_of
from opportune.playbook.reach import ConsentPolicy, CountryConsent, stricter

#: Sources of an opt-out that is the customer's own word, or the address's.
_WORDS = ("unsubscribed", "complaint", "hard_bounce")
HARD_BOUNCE, COMPLAINT = "hard_bounce", "complaint"
#: channel -> trait that holds its address; a channel not named here needs none.
ADDRESS_TRAITS = {"email": "email", "sms": "phone", "push": "push_token"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message may not go. `line` or `listed` is the proof; neither: nothing was said, and the default is out."""

    reason: Reason
    line: Consent | None = None
    listed: Suppression | None = None


class Standing:
    """What one customer has said, by scope, ready to be asked."""

    __slots__ = ("_newest", "_suppressing")

    def __init__(self, lines: Sequence[Consent]) -> None:
        """`lines`: the whole history in any order."""
        self._newest: dict[tuple[str, str], Consent] = {}
        self._suppressing: list[Consent] = []
        ordered = sorted(lines, key=lambda c: (c.at, c.consent_id)) if len(lines) > 1 else lines
        if len(ordered) > 1:
            ordered = without_echoes(ordered)
        for line in ordered:
            self._newest[line.channel, line.topic] = line
            if line.source in (HARD_BOUNCE, COMPLAINT) and line.state is ConsentState.OUT:
                self._suppressing.append(line)
        if self._suppressing:
            opened = {(c.channel, c.topic): c.at for c in ordered if c.state is ConsentState.IN}
            self._suppressing = [
                c for c in self._suppressing if (c.channel, c.topic) not in opened or opened[c.channel, c.topic] <= c.at
            ]

    def refusal(self, channel: str, topic: str, is_transactional: bool, policy: ConsentPolicy) -> Refusal | None:
        """Why a message of this channel and topic may not go; null when it may."""
        for line in self._suppressing:
            is_here = line.channel in (channel, ANY) and line.topic in (topic, ANY)
            if is_here and (line.source == HARD_BOUNCE or not is_transactional):
                return Refusal(Reason.SUPPRESSED, line)
        if is_transactional:
            return None
        newest = self._newest
        scopes = ((channel, topic), (channel, ANY), (ANY, topic), (ANY, ANY))
        lines = [newest[scope] for scope in scopes if scope in newest] if newest else []
        agreed = [line for line in lines if line.state is ConsentState.IN]
        for line in lines:
            if line.state is ConsentState.OUT and not any(_lifts(yes, line) for yes in agreed):
                return Refusal(Reason.NO_CONSENT, line)
        if agreed or policy.default.get(channel, policy.default.get(ANY, "out")) == "in":
            return None
        return Refusal(Reason.NO_CONSENT)

    def is_withdrawn(self, channel: str, topic: str) -> bool:
        """True when the newest word of this very scope is an opt-out, and no newer opt-in inside it lifts any of it."""
        line = self._newest.get((channel, topic))
        if line is None or line.state is not ConsentState.OUT:
            return False
        agreed = (yes for yes in self._newest.values() if yes.state is ConsentState.IN and yes.channel != PROFILING)
        return not any(_touches(yes, line) and yes.at > line.at for yes in agreed)

    def may_profile(self, policy: ConsentPolicy) -> bool:
        """The newest line on the pseudo channel `profiling` decides, else the playbook's default."""
        lines = [line for (channel, _), line in self._newest.items() if channel == PROFILING]
        if not lines:
            return policy.profiling == "in"
        return max(lines, key=lambda c: (c.at, c.consent_id)).state is ConsentState.IN


def without_echoes(ordered: Sequence[Consent]) -> Sequence[Consent]:
    """Lines, oldest first, without stamped opt-ins after an unsubscribe, complaint or bounce that covers them."""
    if not any(line.source in _WORDS for line in ordered):
        return ordered
    kept: list[Consent] = []
    for line in ordered:
        if line.state is ConsentState.IN and line.source == PREFERENCES:
            standing = {(c.channel, c.topic): c for c in kept}
            said = [c for c in standing.values() if c.source in _WORDS and c.state is ConsentState.OUT]
            if any(_touches(line, c) for c in said):
                continue
        kept.append(line)
    return kept


def _touches(agreed: Consent, opt_out: Consent) -> bool:
    """Whether an opt-in speaks about any message that an opt-out closes; profiling is a matter of its own."""
    if PROFILING in (agreed.channel, opt_out.channel):
        return agreed.channel == opt_out.channel
    return agreed.channel in (opt_out.channel, ANY) or opt_out.channel == ANY


def _lifts(agreed: Consent, opt_out: Consent) -> bool:
    inside = opt_out.channel in (agreed.channel, ANY) and opt_out.topic in (agreed.topic, ANY)
    return inside and agreed.at > opt_out.at


def has_address(channel: str, traits: Mapping[str, object]) -> bool:
    """True when the channel needs no address or the trait that holds it is a text that is not empty."""
    trait = ADDRESS_TRAITS.get(channel)
    if trait is None:
        return True
    address = traits.get(trait)
    return isinstance(address, str) and bool(address.strip())


class Policies:
    """What holds where a customer has said nothing, by country, compiled once per playbook.

    A country's own block goes before the groups it is in (`EU` before `EEA`), these before what holds elsewhere. Whose
    country is not known gets the strictest reading: `out` wherever any country, or elsewhere, says so.
    """

    __slots__ = ("_by_code", "_elsewhere", "_unknown")

    def __init__(self, policy: ConsentPolicy) -> None:
        self._elsewhere = policy
        self._by_code: dict[str, ConsentPolicy] = {}
        self._unknown = policy
        for name, there in policy.by_country.items():
            if name not in GROUPS:
                self._by_code[name] = _combined(policy, there)
        for group, codes in GROUPS.items():
            if group in policy.by_country:
                shared = _combined(policy, policy.by_country[group])
                self._by_code = {**dict.fromkeys(codes, shared), **self._by_code}
        for declared in self._by_code.values():
            self._unknown = self._unknown.model_copy(
                update={
                    "default": stricter(self._unknown.default, declared.default),
                    "profiling": "in" if self._unknown.profiling == declared.profiling == "in" else "out",
                }
            )

    def of(self, traits: Mapping[str, object]) -> ConsentPolicy:
        """The policy for a customer with these traits."""
        if not self._by_code:
            return self._elsewhere
        country = country_of(traits)
        return self._unknown if country is None else self._by_code.get(country, self._elsewhere)


def _combined(policy: ConsentPolicy, there: CountryConsent) -> ConsentPolicy:
    said = {"default": there.default, "profiling": there.profiling}
    return policy.model_copy(update={key: value for key, value in said.items() if value is not None})


def unreachable(
    channel: str,
    topic: str,
    is_transactional: bool,
    customer: Customer,
    standing: Standing,
    suppressions: Sequence[Suppression],
    policy: ConsentPolicy,
) -> Refusal | None:
    """Why this customer may not get a message of this channel and topic: no address, suppressed, no consent; null when
    they may. `suppressions`: the entries in force that name them."""
    if not has_address(channel, customer.traits):
        return Refusal(Reason.NO_ADDRESS)
    return refused(channel, topic, is_transactional, standing, suppressions, policy)


def refused(
    channel: str,
    topic: str,
    is_transactional: bool,
    standing: Standing,
    suppressions: Sequence[Suppression],
    policy: ConsentPolicy,
) -> Refusal | None:
    """The same, whether there is an address or not."""
    for entry in suppressions:
        if entry.stops(channel, is_transactional):
            return Refusal(Reason.SUPPRESSED, listed=entry)
    return standing.refusal(channel, topic, is_transactional, policy)
