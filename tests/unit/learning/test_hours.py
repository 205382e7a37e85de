"""Send times: exposure, shrinkage, local time, and judgement by chance alone."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from tests.desks import NOON, desk_of, playbook_of
from tests.unit.learning.fakes import FixedClock, MemoryRunLog, PlainOffline, ReadingLedger, event, playbook

from opportune.domain.customers import Customer
from opportune.domain.decisions import Ask, Decision
from opportune.domain.events import Event, EventKind
from opportune.flows.decide import decide
from opportune.flows.ingest import ingest
from opportune.flows.lookup import replay
from opportune.flows.lookup import score as lookup_scores
from opportune.flows.scoring import Scorer
from opportune.flows.train import train
from opportune.learning import manifest as manifests
from opportune.learning.hours import (
    UNSEEN,
    Histories,
    Letters,
    Timing,
    best_hours,
    fit,
    part_of,
    snips,
    to_local,
)
from opportune.learning.letters import LetterTally
from opportune.learning.loading import loaded
from opportune.learning.timing import HoursModel
from opportune.ports import ModelFiles

T0 = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = T0 + timedelta(days=130)
N = 24


def histories(n: int) -> Histories:
    return Histories(sent=np.zeros((n, N)), opened=np.zeros((n, N)), active=np.zeros((n, N)))


def flat_timing(own_weight: float = 1.0) -> Timing:
    everybody = 1 + 0.5 * np.cos((np.arange(N) - 20) * np.pi / 12)
    return Timing(p=0.2, everybody=everybody, parts=np.tile(everybody, (9, 1)), own_weight=own_weight, level_weight=2.0)


def random_letters(n: int, rng: np.random.Generator, peak: np.ndarray) -> Letters:
    """One letter a customer, at an hour drawn evenly from 7 to 22; opened most near the customer's peak."""
    hour = rng.integers(7, 23, n)
    away = np.abs((hour - peak + 12) % 24 - 12)
    opened = (rng.uniform(size=n) < 0.12 + 0.4 * np.exp(-0.5 * (away / 2) ** 2)).astype(float)
    return Letters(
        row=np.arange(n),
        hour=hour,
        opened=opened,
        p_hour=np.full(n, 1 / 16),
        cohort=(np.arange(n) >= n // 2).astype(int),
    )


def test_local_hours_are_exact_and_half_hours_are_split() -> None:
    """A letter at 18 UTC is at 23 in UTC+5, and half at 23, half at 0 in UTC+5:30; none is lost; west is before."""
    utc = np.zeros((3, N))
    utc[:, 18] = 1.0
    local = to_local(utc, np.array([5.0, 5.5, -8.0]))
    assert (local[0, 23], local[1, 23], local[1, 0], local[2, 10]) == (1.0, 0.5, 0.5, 1.0)
    assert local.sum(axis=1).tolist() == [1.0, 1.0, 1.0]


def test_without_letters_the_shape_is_that_of_everybody_and_with_many_it_is_ones_own() -> None:
    """Shrinkage: no letters, nothing moves; each further answered letter moves more; fifty decide."""
    timing, best = flat_timing(), []
    for n in (0, 1, 5, 50):
        known = histories(1)
        known.sent[0, 7:23] = n / 4
        known.opened[0, 8] = n / 5
        shapes, _, _ = timing.shapes(known)
        best.append((int(shapes[0].argmax()), float(shapes[0, 8] / shapes[0, 20])))
    assert best[0][0] == 20
    assert best[-1][0] in (7, 8, 9)
    ratios = [ratio for _, ratio in best]
    assert ratios == sorted(ratios)


def test_an_hour_in_which_much_is_sent_looks_no_better_for_it() -> None:
    """The same share opened at all hours, ten times the letters at nine: no hour stands out."""
    hour = np.concatenate([np.repeat(np.arange(7, 23), 200), np.full(2000, 9)])
    opened = np.tile([1.0, 0.0, 0.0, 0.0, 0.0], len(hour) // 5)
    letters = Letters(
        row=np.zeros(len(hour), int), hour=hour, opened=opened, p_hour=np.full(len(hour), np.nan), cohort=hour * 0
    )
    timing = fit(letters, histories(1))
    assert timing.p == pytest.approx(0.2, abs=0.01)
    assert timing.everybody.max() / timing.everybody.min() < 1.1


def test_parts_of_the_day_are_learned_and_beat_the_one_best_hour() -> None:
    """Two sorts of customers, told apart by when they are around: judged off-policy, their own hours win clearly."""
    rng, n = np.random.default_rng(5), 12_000
    peak = np.where(np.arange(n) % 3 == 0, 8, 19)
    letters, known = random_letters(n, rng, peak), histories(n)
    known.active[np.arange(n), peak] = 20.0
    timing = fit(letters.where(letters.cohort == 0), known)
    held = letters.where(letters.cohort == 1)
    shapes, _, parts = timing.shapes(known.take(held.row))
    assert set(parts.tolist()) == {2, 6}
    own = snips(held, best_hours(shapes, range(7, 23)))
    one = snips(held, best_hours(np.tile(timing.everybody, (len(held), 1)), range(7, 23)))
    assert own.value - one.value > 3 * np.sqrt(own.se**2 + one.se**2)
    truth = 0.12 + 0.4 * np.mean([np.exp(-0.5 * (d / 2) ** 2) for d in (-1, 0, 1)])
    assert own.value == pytest.approx(truth, abs=0.05)


def test_snips_gives_the_value_of_a_policy_from_unevenly_drawn_hours() -> None:
    """Hours drawn with logged, uneven probabilities: the estimate is that of an even log, not the plain average."""
    rng, n = np.random.default_rng(3), 40_000
    p = np.full(N, 0.4 / 23)
    p[9] = 0.6
    hour = rng.choice(N, n, p=p)
    opened = (rng.uniform(size=n) < np.where(hour == 15, 0.5, 0.1)).astype(float)
    letters = Letters(row=np.arange(n), hour=hour, opened=opened, p_hour=p[hour], cohort=hour * 0)
    told = snips(letters, np.full(n, 15))
    assert told.value == pytest.approx((0.1 + 0.5 + 0.1) / 3, abs=4 * told.se)
    assert told.se < 0.02
    assert np.isnan(snips(letters.where(hour == 2), np.full(int((hour == 2).sum()), 15)).value)


def test_who_is_hardly_seen_has_no_part_of_the_day() -> None:
    """A part is said from twelve events on."""
    active = np.zeros((2, N))
    active[:, 13] = (11, 12)
    assert part_of(active).tolist() == [UNSEEN, 4]


def letter_events(customer: str, n: int, at: datetime, opened: bool, campaign: str = "newsletter") -> list[Event]:
    found = [event(customer, "Email Delivered", at, n, email_id=f"{customer}-{n}", campaign=campaign)]
    if opened:
        found.append(event(customer, "Email Opened", at + timedelta(hours=3), n, email_id=f"{customer}-{n}"))
    return found


def test_a_letter_counts_as_opened_only_in_time_and_by_a_person() -> None:
    """Late openings, machines and letters too young to be judged; the hour of the sending is what counts."""
    events = [
        *letter_events("a", 1, T0, opened=True),
        *letter_events("a", 2, T0, opened=False),
        event("a", "Email Opened", T0 + timedelta(days=4), 2, email_id="a-2"),
        *letter_events("b", 1, T0, opened=False),
        event("b", "Email Opened", T0 + timedelta(hours=1), 1, email_id="b-1", is_machine=True),
        event("b", "Message Sent", T0 - timedelta(minutes=1), 1, message_id="b-1", slot_probability=0.04),
        *letter_events("b", 9, AS_OF - timedelta(days=1), opened=True),
    ]
    for order in (events, events[::-1]):
        tally = LetterTally(AS_OF, {"newsletter": 16})
        for e in order:
            tally.add(e)
        found = tally.letters([], timedelta(days=3))
        told = sorted(
            (x.customer_id, x.is_opened, round(x.p_hour, 4), (x.sent_at - T0) / timedelta(minutes=1)) for x in found
        )
        assert told == [("a", False, 0.0625, 0.0), ("a", True, 0.0625, 0.0), ("b", False, 0.04, -1.0)]


def shop(n_customers: int = 150) -> tuple[list[Event], ReadingLedger]:
    """Londoners and New Yorkers, each around in the morning or in the evening, with a letter every ten days."""
    rng = np.random.default_rng(1)
    events: list[Event] = []
    ledger = ReadingLedger(events)
    for i in range(n_customers):
        zone, peak = ZoneInfo(("Europe/London", "America/New_York")[i % 2]), (8, 20)[i // 2 % 2]
        name = f"c{i}"
        ledger.customers[name] = Customer(customer_id=name, traits={"timezone": str(zone)})
        for k in range(13):
            day = T0 + timedelta(days=10 * k)
            seen = day.replace(tzinfo=zone).replace(hour=peak, minute=30).astimezone(UTC)
            events += [event(name, "Page Viewed", seen + timedelta(minutes=m), 4 * k + m) for m in range(4)]
            hour = int(rng.integers(7, 23))
            at = day.replace(tzinfo=zone, hour=hour, minute=10).astimezone(UTC) + timedelta(days=1)
            away = abs((hour - peak + 12) % 24 - 12)
            events += letter_events(name, k, at, bool(rng.uniform() < 0.1 + 0.6 * np.exp(-0.5 * (away / 2) ** 2)))
    events.sort(key=lambda e: e.event_at)
    ledger.events = events
    return events, ledger


class OneShelf:
    """A shelf with one send-time model."""

    def __init__(self, files: ModelFiles) -> None:
        self.files = files

    def stamp(self, name: str) -> str | None:
        return "1" if name == "send_time" else None

    def load(self, name: str) -> ModelFiles:
        return self.files


@pytest.fixture(scope="module")
def trained() -> ModelFiles:
    events, ledger = shop()
    runlog = MemoryRunLog()
    report = train(
        "send_time",
        AS_OF,
        ledger=ledger,
        offline=PlainOffline(events),
        runlog=runlog,
        clock=FixedClock(AS_OF),
        playbook=playbook(),
    )
    assert (report.verdict, runlog.champion("send_time")) == ("promoted", "1"), report.to_text()
    assert report.metrics["snips"] > report.metrics["global_hour_snips"] - 0.1
    files = runlog.fetch("send_time", "1")
    assert b"send_time" in files["CARD.md"]
    json.dumps(report.to_dict())
    manifest = manifests.parse(files["manifest.json"])
    return ModelFiles(name="send_time", version="1", manifest=manifest, text=files["model.txt"].decode())


def test_training_from_events_to_a_model_that_knows_local_habits(trained: ModelFiles) -> None:
    """From events to a loaded model: a New Yorker around in the evening gets the evening there, with a reason."""
    scorer = Scorer(OneShelf(trained), ("send_time",))  # type: ignore[arg-type]
    assert scorer.refresh() == ["send_time/1"]
    utc = [0.0] * 24
    utc[1] = 15.0  # 20:00 in New York in winter
    values = {"active_hours": tuple(utc), "letters_sent_hours": (0.0,) * 24, "letters_opened_hours": (0.0,) * 24}
    now = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)
    found = scorer.best_hours([values, values], [ZoneInfo("America/New_York"), None], now, explain=[0])
    assert found is not None
    score = found[0]
    assert score.best_hour_local in range(17, 23)
    assert score.best_at is not None
    assert score.best_at.astimezone(ZoneInfo("America/New_York")).hour == score.best_hour_local
    assert now < score.best_at < now + timedelta(hours=24)
    assert sum(score.hours) / 24 == pytest.approx(1, abs=1e-3)
    assert "Usually around between 18:00 and 21:00" in score.reasons[0].text
    assert found[1].reasons == ()
    assert found[1].best_at is not None
    assert found[1].best_at.hour == found[1].best_hour_local  # without a zone UTC stands for local time
    assert scorer.score([values]) == [{}]


def test_a_decision_carries_the_hours_waits_for_the_best_and_replays(trained: ModelFiles, tmp_path: Path) -> None:
    """Ingested, scored under the lock in the customer's zone, stored; scores on request say the same; replay agrees."""
    scorer = Scorer(OneShelf(trained), ("send_time",))  # type: ignore[arg-type]
    scorer.refresh()
    book = playbook_of(
        tmp_path,
        """
        topics: {news: {purpose: marketing}}
        consent: {default: {"*": in}}
        triggers: {ask: {kind: request}}
        campaigns:
          hello: {trigger: ask, topic: news, channels: [inapp], content: {inapp: {body: Hello}}}
        """,
    )
    desk = desk_of(book, scorer=scorer)
    seen = [event("c1", "Page Viewed", NOON - timedelta(days=k, hours=4, minutes=30), k) for k in range(1, 20)]
    told = replace(
        seen[0], kind=EventKind.IDENTIFY, name="Identified", message_id="i", traits={"timezone": "Europe/London"}
    )
    ingest([told, *seen], [], desk.ledger, book, desk.clock)
    decision = decide([Ask(customer_id="c1", explain=True)], desk)[0]
    assert isinstance(decision, Decision)
    score = decision.scores["send_time"]
    assert decision.messages[0].send_at == score.best_at
    assert score.best_hour_local in range(6, 11)
    assert "Usually around between 6:00 and 9:00" in score.reasons[0].text
    replayed = replay(decision.decision_id, desk.ledger)
    assert replayed is not None
    assert replayed.is_same
    asked = lookup_scores(["c1"], None, None, desk)[0]["send_time"]
    assert (asked["best_hour_local"], asked["p"]) == (score.best_hour_local, score.p)


def test_without_zone_and_history_no_hour_is_preferred_but_the_playbooks(trained: ModelFiles) -> None:
    """Nothing to tell the hours by: the playbook's default hour, else none."""
    scorer = Scorer(OneShelf(trained), ("send_time",))  # type: ignore[arg-type]
    scorer.refresh()
    nothing = dict.fromkeys(("active_hours", "letters_sent_hours", "letters_opened_hours"), (0.0,) * 24)
    now = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)
    plain = scorer.best_hours([nothing], [None], now, explain=[0])
    told = scorer.best_hours([nothing], [None], now, default_hour=10)
    assert plain is not None
    assert told is not None
    assert (plain[0].hours, plain[0].best_hour_local, plain[0].best_at) == ((), None, None)
    assert "No hour is preferred" in plain[0].reasons[0].text
    assert told[0].best_at == datetime(2026, 2, 2, 10, 0, tzinfo=UTC)


def test_a_model_that_is_not_itself_is_refused(trained: ModelFiles) -> None:
    """Other text than the manifest states; numbers that are no chances."""
    with pytest.raises(ValueError, match="hash"):
        loaded(ModelFiles(name="send_time", version="1", manifest=trained.manifest, text=trained.text + " "))
    broken = json.loads(trained.text) | {"everybody": [0.0] * 24}
    text = json.dumps(broken)
    with pytest.raises(ValueError, match="no chances"):
        loaded(
            ModelFiles(
                name="send_time",
                version="1",
                manifest={**trained.manifest, "sha256": manifests.sha256(text)},
                text=text,
            )
        )


def test_too_few_random_letters_give_a_prior_that_says_so() -> None:
    """The letters of a campaign whose hour was not drawn cannot judge: a prior is registered, and prefers no hour."""
    events, ledger = shop(60)
    ledger.events = [
        event(e.user_id or "", e.name, e.event_at, i, **{**e.properties, "campaign": "other"})
        for i, e in enumerate(events)
    ]
    runlog = MemoryRunLog()
    report = train(
        "send_time",
        AS_OF,
        ledger=ledger,
        offline=PlainOffline(ledger.events),
        runlog=runlog,
        clock=FixedClock(AS_OF),
        playbook=playbook(),
    )
    assert report.verdict == "prior"
    assert any("random hours" in reason for reason in report.reasons)
    files = runlog.fetch("send_time", "1")
    model = loaded(ModelFiles(name="send_time", version="1", manifest=manifests.parse(files["manifest.json"]), text=""))
    assert isinstance(model, HoursModel)
    answer = model.answers(np.zeros((1, 72)), np.zeros(1), np.ones(1, dtype=np.bool_), None)[0]
    assert (answer.hours, answer.best_hour) == ((), None)
    assert "too few letters" in answer.reason.text
