"""The desk: everything the deciding flows work with, plugged together by wiring."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from opportune.flows.scoring import Scorer
from opportune.playbook.load import Playbook
from opportune.playbook.vary import variants_of
from opportune.ports import Clock, FeatureStore, Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Parts of one deciding process. `secret` seeds draws and pseudonyms and seals links; `new_id` makes decision
    ids. `public_url`: where customers reach our pages, without a slash at the end; empty: nowhere."""

    ledger: Ledger
    features: FeatureStore
    scorer: Scorer
    playbook: Playbook
    clock: Clock
    secret: bytes
    code_version: str
    new_id: Callable[[], str]
    #: Absence waits for its sources. Off on the replay clock: replayed history counts as complete and healthy.
    is_watching: bool = False
    public_url: str = ""

    def seed(self, decision_id: str) -> str:
        """HMAC-SHA256(secret, decision id) in hex: the only randomness of a decision."""
        return hmac.digest(self.secret, decision_id.encode(), "sha256").hex()

    def unit(self, customer_id: str) -> str:
        """The pseudonymous unit id of a customer: what experiments and MLflow see."""
        return hmac.digest(self.secret, b"unit:" + customer_id.encode(), "sha256").hex()[:24]


#: Looking back per playbook hash: worked out once, asked in every decision.
_LOOK_BACK: dict[str, timedelta] = {}


def look_back(playbook: Playbook) -> timedelta:
    """How far back sends can matter under any variation: the longest cap window, spacing or cool-down, the week that
    fatigue looks at, and a day for zones."""
    found = _LOOK_BACK.get(playbook.hash)
    if found is None:
        found = _LOOK_BACK[playbook.hash] = max(_longest(varied) for varied in variants_of(playbook))
    return found


def _longest(playbook: Playbook) -> timedelta:
    spans = [timedelta(days=1)]
    for cap in playbook.spec.caps.values():
        calendar = {"day": 1, "week": 7, "month": 31}.get(cap.calendar or "", 0)
        spans += [timedelta(days=calendar), cap.rolling or timedelta(0), cap.at_least_apart or timedelta(0)]
    if playbook.spec.fatigue is not None:
        spans.append(timedelta(days=7))
    spans += [c.cooldown for c in playbook.spec.campaigns.values() if c.cooldown]
    return max(spans) + timedelta(days=2)


def horizon_start(now: datetime, playbook: Playbook) -> datetime:
    """The oldest send instant a decision at `now` must see."""
    return now - look_back(playbook)
