"""Who may do what: three keys, three scopes, compared in constant time."""

import base64
import binascii
import hmac
import ipaddress
from enum import Flag, auto

from opportune.api.problems import Refusal
from opportune.settings import Settings


class Scope(Flag):
    """What a key may do. The admin key has all of it."""

    WRITE = auto()  # append events
    DECIDE = auto()  # scores, decisions, statuses
    ADMIN = auto()  # everything else: customers, consent, items, playbook, dead letters, clock


class Keys:
    """The keys of one installation. Without any configured key every scope is open (and only loopback is bound)."""

    def __init__(self, settings: Settings) -> None:
        pairs = (
            (settings.api_key, Scope.WRITE | Scope.DECIDE | Scope.ADMIN),
            (settings.write_key, Scope.WRITE),
            (settings.decide_key, Scope.DECIDE),
        )
        self._keys = [(key.encode(), scope) for key, scope in pairs if key]

    @property
    def is_open(self) -> bool:
        """True when no key is configured."""
        return not self._keys

    def scope_of(self, key: str | None) -> Scope | None:
        """What this key may do; null when it is no key of ours. Takes the same time whichever key matches."""
        if key is None:
            return None
        given = key.encode("utf-8", "surrogatepass")
        found = Scope(0)
        for known, scope in self._keys:
            if hmac.compare_digest(given, known):
                found |= scope
        return found or None

    def require(self, scope: Scope, *candidates: str | None) -> None:
        """Pass when any of the presented keys has the scope. Raises Refusal 401 (no key of ours) or 403 (wrong key)."""
        if self.is_open:
            return
        found = [s for s in map(self.scope_of, candidates) if s is not None]
        if any(scope in s for s in found):
            return
        if found:
            raise Refusal(403, "wrong_scope", f"this key may not do that: it needs the {scope.name} scope".lower())
        given = any(candidates)
        raise Refusal(
            401,
            "unknown_key" if given else "missing_key",
            "this key is not known"
            if given
            else "send a key: Authorization: Bearer KEY, or Basic with KEY as user name",
            headers={"WWW-Authenticate": 'Basic realm="opportune", Bearer'},
        )


def key_of(authorization: str | None) -> str | None:
    """The key in an Authorization header: `Bearer KEY`, or Basic `KEY:` (any password); null when there is none."""
    if not authorization:
        return None
    kind, _, rest = authorization.partition(" ")
    rest = rest.strip()
    if kind.lower() == "bearer":
        return rest or None
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[0] or None
        except (binascii.Error, ValueError):
            return None
    return None


def may_bind(host: str, settings: Settings) -> bool:
    """Whether a server may listen on `host`: anywhere with a key, without one on loopback only."""
    if not Keys(settings).is_open:
        return True
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
