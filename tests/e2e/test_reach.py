"""Who may hear from us, told over HTTP on the real flows: consent, links, pages, suppression, what always goes."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.desks import NOON, EmptyShelf, desk_of, playbook_of

from opportune.adapters.system_clock import FixedClock
from opportune.api.app import create_app
from opportune.api.parts import Parts
from opportune.domain.decisions import Score
from opportune.domain.links import Link, Page, seal
from opportune.domain.messages import Send, SendState
from opportune.flows.deliver import deliver
from opportune.flows.desk import Desk
from opportune.flows.fire import fire_all
from opportune.flows.lookup import replay
from opportune.flows.scoring import Scorer
from opportune.settings import Settings

PLAYBOOK = """
topics:
  offers: {purpose: marketing, description: Offers & <bargains>}
  news: {purpose: marketing}
  orders: {purpose: transactional}
consent: {default: {"*": in}}
quiet_hours: {start: "21:00", end: "08:00"}
caps: {one_a_day: {counts: {purpose: marketing}, at_most: 1, in: 1d}}
triggers:
  offer: {kind: request}
  cart_abandoned: {on: {event: Product Added, key: properties.cart_id}, unless: {event: Order Completed}, wait: 1h}
  order_confirmation: {kind: transactional, on: {event: Order Completed, key: properties.order_id}}
campaigns:
  hello:
    trigger: offer
    topic: offers
    channels: [email]
    content:
      email:
        {subject: Hi, body: "<a href='{{ unsubscribe_url }}'>no more</a>", cta: Choose, url: "{{ preferences_url }}"}
  text:
    trigger: offer
    topic: news
    channels: [sms]
    content: {sms: {body: "Stop: {{ unsubscribe_url | url_encode }}"}}
  likely:
    trigger: offer
    topic: news
    channels: [inapp]
    when: scores.purchase > 0.1
    content: {inapp: {body: Only for you}}
  cart:
    trigger: cart_abandoned
    topic: offers
    channels: [email]
    expires_after: 2d
    content: {email: {subject: Cart, body: Still there, cta: Go, url: "https://shop.example"}}
  confirmation:
    trigger: order_confirmation
    topic: orders
    channels: [email]
    counts_toward_caps: false
    content: {email: {subject: Thanks, body: We have it, cta: See, url: "https://shop.example"}}
"""
PUBLIC = "https://news.shop.example/p"


class LikelyBuyers(Scorer):
    """Everybody is likely to buy."""

    def score(self, customers: Sequence[Any], *_: Any, **__: Any) -> list[dict[str, Score]]:
        score = Score(name="purchase", p=0.5, model="purchase/1", target="order within 30 d")
        return [{"purchase": score} for _ in customers]


class Post:
    """A courier that keeps what it is handed."""

    def __init__(self) -> None:
        self.handed: list[Send] = []

    def deliver(self, sends: Sequence[Send], at: datetime) -> None:
        self.handed += sends


@dataclass
class Town:
    """A server, its clock, its courier."""

    client: TestClient
    desk: Desk
    clock: FixedClock
    post: Post = field(default_factory=Post)

    def tell(self, *items: dict[str, Any]) -> None:
        numbered = [{"userId": "c1", "type": "track", "properties": {}, **item} for item in items]
        answer = self.client.post("/v1/batch", json={"batch": numbered})
        assert answer.json()["rejected"] == []

    def ask(self, **body: Any) -> dict[str, Any]:
        answer = self.client.post("/v1/decisions", json={"customer_id": "c1", **body})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, hours: float = 0) -> list[str]:
        """Time passes, what is due happens; campaigns handed over since then."""
        before = len(self.post.handed)
        self.clock.advance(self.clock.now() + timedelta(hours=hours))
        fire_all(self.desk, "test")
        deliver(self.desk.ledger, self.desk.playbook, self.post, self.clock, secret=self.desk.secret)
        return [s.campaign for s in self.post.handed[before:]]

    def known(self) -> dict[str, Any]:
        return dict(self.client.get("/v1/customers/c1").json())

    def token(self, page: Page, days_ago: float = 0, **said: Any) -> str:
        link = Link(**{"customer_id": "c1", "channel": "email", "topic": "offers", "message_id": None,
                       "issued_at": self.clock.now() - timedelta(days=days_ago), **said})  # fmt: skip
        return seal(link, page, self.desk.secret)


def opened(tmp_path: Path, text: str = PLAYBOOK, public_url: str = PUBLIC) -> tuple[Desk, FixedClock]:
    from dataclasses import replace

    clock = FixedClock(NOON)
    desk = desk_of(playbook_of(tmp_path / "playbook", text), clock=clock, scorer=LikelyBuyers(EmptyShelf(), ()))
    return replace(desk, public_url=public_url), clock


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """Noon on a Monday, one customer with e-mail and telephone in UTC, pages at a public URL behind a prefix."""
    desk, clock = opened(tmp_path)
    configured = Settings(api_key=None, write_key=None, decide_key=None, public_url=PUBLIC)
    with TestClient(create_app(Parts(settings=configured, desk=desk, freeze=False)), follow_redirects=False) as client:
        found = Town(client, desk, clock)
        traits = {"email": "c1@example.com", "phone": "+447700900000", "timezone": "UTC"}
        found.tell({"type": "identify", "messageId": "i1", "traits": traits})
        yield found


def path_in(url: str) -> str:
    """The path behind the public prefix."""
    return url.removeprefix(PUBLIC)


CART = {"event": "Product Added", "messageId": "t1", "properties": {"cart_id": "k1", "price": 40, "quantity": 1}}
ORDER = {"event": "Order Completed", "messageId": "o1", "properties": {"order_id": "A1", "total": 40}}
NO = {"channel": "*", "state": "out", "source": "form"}


def test_an_order_confirmation_goes_where_nothing_else_may(town: Town) -> None:
    """Capped, at midnight, opted out of everything: the confirmation leaves at once, the reminder does not."""
    assert [m["campaign"] for m in town.ask(max_messages=1)["messages"]] == ["hello"]
    town.clock.advance(NOON + timedelta(hours=11, minutes=30))
    assert town.client.put("/v1/customers/c1/consent", json=NO).status_code == 200
    town.tell(CART)
    assert town.wait(1) == []
    removed = {r["campaign"]: r["reason"] for r in town.ask(trigger="cart_abandoned", dry_run=True)["removed"]}
    assert removed == {"cart": "no_consent"}
    town.tell(ORDER)
    assert town.wait() == ["confirmation"]


def test_withdrawn_profiling_gives_rules_only(town: Town) -> None:
    """With consent scores are used; without it none is answered and what needs one stays silent."""
    town.tell({"event": "Product Viewed", "messageId": "v1"})
    before = town.ask(dry_run=True, channels=["inapp"])
    assert (before["mode"], set(before["scores"])) == ("full", {"purchase"})
    assert [m["campaign"] for m in before["messages"]] == ["likely"]
    withdrawn = {"channel": "profiling", "state": "out", "source": "form", "proof": {"form": "v3"}}
    assert town.client.put("/v1/customers/c1/consent", json=withdrawn).json()["proof"]["shown"] == {"form": "v3"}
    after = town.ask(dry_run=True, channels=["inapp"])
    assert (after["mode"], after["scores"], after["messages"]) == ("rules_only", {}, [])
    assert {r["reason"] for r in after["removed"] if r["channel"] == "inapp"} == {"no_profiling"}
    assert town.client.post("/v1/scores", json={"customer_ids": ["c1"]}).json() == {"scores": [{"customer_id": "c1"}]}
    assert town.known()["profiling"] is False


def test_a_message_carries_links_that_work_and_the_log_holds_none(town: Town) -> None:
    """Headers of RFC 8058 and links in the texts, the same wherever the message is asked for; replay is unchanged."""
    answer = town.ask(channels=["email"])
    (message,) = answer["messages"]
    url = re.fullmatch(r"<(.+)>", message["headers"]["List-Unsubscribe"])[1]  # type: ignore[index]
    assert message["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert url.startswith(f"{PUBLIC}/unsubscribe/1.")
    assert message["content"]["body"] == f"<a href='{url}'>no more</a>"
    assert town.client.get(path_in(url)).status_code == 200
    assert town.client.get(path_in(message["content"]["url"])).status_code == 200
    again = town.client.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert again["messages"] == answer["messages"]
    due = town.client.get("/v1/messages").json()["messages"]
    assert due[0]["payload"]["headers"] == message["headers"]
    told = town.client.get(f"/v1/decisions/{answer['decision_id']}?explain=true").text
    with town.desk.ledger.read() as uow:
        kept = uow.decisions.get(answer["decision_id"])
    assert kept is not None
    token = url.rsplit("/", 1)[1]
    assert token.encode() not in kept.case + kept.decision
    assert token not in town.client.get("/v1/customers/c1").text
    assert "opportune-unsubscribe-token" not in told
    replayed = replay(answer["decision_id"], town.desk.ledger)
    assert replayed is not None
    assert replayed.is_same


def test_what_the_service_delivers_carries_them_too_and_a_service_message_none(town: Town) -> None:
    """The courier gets finished texts; an order confirmation has no header to unsubscribe from it."""
    town.tell(CART)
    assert town.wait(1) == ["cart"]
    town.tell(ORDER)
    assert town.wait() == ["confirmation"]
    marketing, service = (s.payload["headers"] for s in town.post.handed)
    assert town.client.get(path_in(marketing["List-Unsubscribe"].strip("<>"))).status_code == 200
    assert service == {}


def test_without_a_public_url_there_are_no_links(tmp_path: Path) -> None:
    """No header, and a template finds nothing."""
    text = PLAYBOOK.replace('"{{ preferences_url }}"', "https://shop.example")
    desk, _ = opened(tmp_path, text, public_url="")
    with TestClient(create_app(Parts(settings=Settings(), desk=desk, freeze=False))) as client:
        client.post("/v1/identify", json={"userId": "c1", "traits": {"email": "a@b.c", "timezone": "UTC"}})
        (message,) = client.post("/v1/decisions", json={"customer_id": "c1", "channels": ["email"]}).json()["messages"]
        assert client.get("/v1/customers/c1").json()["preferences_url"] is None
    assert message["headers"] == {}
    assert "unsubscribe" not in message["content"]["body"]


def test_looking_at_the_page_changes_nothing(town: Town) -> None:
    """Scanners fetch every link: GET and HEAD as often as they like; nothing is recorded, nothing released."""
    town.ask(channels=["email"])
    before = town.known()
    for page in Page:
        path = f"/{page.value}/{town.token(page)}"
        for _ in range(3):
            assert town.client.get(path).status_code == 200
            assert town.client.head(path).status_code == 200
    after = town.known()
    assert {**after, "preferences_url": 0} == {**before, "preferences_url": 0}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"List-Unsubscribe=One-Click", "application/x-www-form-urlencoded"),
        (
            b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (b"", ""),
    ],
)
def test_one_click_unsubscribes_at_once(town: Town, body: bytes, kind: str) -> None:
    """No key, no cookie, no redirect: 200. Twice is once, and what had been booked is free again."""
    (message,) = town.ask(channels=["email"], max_messages=1)["messages"]
    path = path_in(message["headers"]["List-Unsubscribe"].strip("<>"))
    for _ in range(2):
        answer = town.client.post(path, content=body, headers={"Content-Type": kind} if kind else {})
        assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
    known = town.known()
    lines = [line for line in known["consent_history"] if line["source"] == "unsubscribed"]
    assert [(line["channel"], line["topic"], line["state"]) for line in lines] == [("email", "*", "out")]
    assert lines[0]["proof"]["how"] == ("one_click" if body else "page")
    assert lines[0]["proof"]["message_id"] == message["message_id"]
    removed = town.ask(channels=["email"])["removed"]
    assert {r["reason"] for r in removed if r["channel"] == "email"} == {"no_consent"}
    with town.desk.ledger.read() as uow:
        (outcome,) = uow.outcomes.of([message["message_id"]])[message["message_id"]]
    assert outcome.kind.value == "unsubscribed"


def test_one_click_stops_what_is_under_way(town: Town) -> None:
    """What is booked for two mornings is released in the same transaction, what is pending is held when it fires."""
    town.clock.advance(NOON + timedelta(hours=10))
    town.tell(CART, {**CART, "messageId": "t2", "properties": {"cart_id": "k2", "price": 9, "quantity": 1}})
    assert town.wait(1) == []  # at 23:00: quiet
    booked, _ = town.known()["sends"]
    town.tell({**CART, "messageId": "t3", "properties": {"cart_id": "k3", "price": 9, "quantity": 1}})
    answer = town.client.post(
        f"/unsubscribe/{town.token(Page.UNSUBSCRIBE)}", content=b"List-Unsubscribe=One-Click",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    assert answer.status_code == 200
    known = town.known()
    assert known["sends"] == []
    assert [t["key"] for t in known["timers"]] == ["k3"]
    with town.desk.ledger.read() as uow:
        send = uow.sends.get([booked["message_id"]])[booked["message_id"]]
        history = uow.sends.history(booked["message_id"])
    assert (send.state, history[-1][1:]) == (SendState.RELEASED, ("released", "no_consent"))
    assert town.wait(1) == town.wait(12) == []


@pytest.mark.parametrize("how", ["put", "event", "bounce", "complaint", "list"])
def test_every_way_to_withdraw_releases_what_is_booked(town: Town, how: str) -> None:
    """The API, an event, a status of the message before, a suppression list: at once, not only at hand-off."""
    town.clock.advance(NOON + timedelta(hours=10))
    town.tell(CART)
    town.wait(1)
    (booked,) = town.known()["sends"]
    message = f"/v1/messages/{booked['message_id']}/status"
    calls: Mapping[str, tuple[str, str, Any]] = {
        "put": ("PUT", "/v1/customers/c1/consent", {**NO, "channel": "email", "topic": "offers"}),
        "event": ("POST", "/v1/track", {"userId": "c1", "event": "Unsubscribed", "messageId": "u"}),
        "bounce": ("POST", message, {"status": "bounced"}),
        "complaint": ("POST", message, {"status": "complained"}),
        "list": ("POST", "/v1/suppressions", {"entries": [{"customer_id": "c1"}]}),
    }
    method, path, body = calls[how]
    assert town.client.request(method, path, json=body).status_code == 200
    assert town.known()["sends"] == []
    assert town.wait(12) == []


def test_a_message_its_caller_holds_already_is_not_taken_back(town: Town) -> None:
    """Silence counts as sent: only what lies ahead is released."""
    (message,) = town.ask(channels=["email"])["messages"]
    town.clock.advance(NOON + timedelta(minutes=1))
    town.client.put("/v1/customers/c1/consent", json=NO)
    assert [s["message_id"] for s in town.known()["sends"]] == [message["message_id"]]


def test_forged_and_stale_links_open_nothing(town: Town) -> None:
    """A plain page and 404 or 410, for GET and POST; nothing changes."""
    good, old = town.token(Page.UNSUBSCRIBE), town.token(Page.UNSUBSCRIBE, days_ago=401)
    cases = {
        f"/unsubscribe/{good[:-1]}": 404,
        f"/unsubscribe/{good.replace('.', '.A', 1)}": 404,
        f"/preferences/{good}": 404,  # replayed under the other path
        f"/unsubscribe/{town.token(Page.PREFERENCES)}": 404,
        f"/unsubscribe/{old}": 410,
        f"/preferences/{town.token(Page.PREFERENCES, days_ago=31)}": 410,
        "/unsubscribe/%00%ff": 404,
        "/unsubscribe/1.e30.x%2Fy": 404,
        "/unsubscribe/" + "x" * 9000: 404,
    }
    for path, status in cases.items():
        for method in ("GET", "POST"):
            answer = town.client.request(method, path, content=b"List-Unsubscribe=One-Click")
            assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8"), path
    assert town.known()["consent_history"] == []


def test_the_preference_page_saves_what_was_changed_and_nothing_else(town: Town) -> None:
    """Boxes as they hold now; one taken off, one left alone, one put back; a stale form undoes nothing."""
    path = path_in(town.known()["preferences_url"])
    page = town.client.get(path).text
    boxes = re.findall(r'name="on" value="([\w/]+)"( checked)?', page)
    assert boxes == [("inapp/news", " checked"), ("sms/news", " checked"), ("email/offers", " checked")]
    assert "Offers &amp; &lt;bargains&gt;" in page
    was = [("was", f"on:{name}:in") for name, _ in boxes] + [("was", "profiling:in:in")]

    def post(*fields: tuple[str, str]) -> str:
        data = "&".join(f"{name}={value}" for name, value in (*was, *fields))
        answer = town.client.post(path, content=data, headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert answer.status_code == 200
        return answer.text

    saved = post(("on", "sms/news"), ("on", "inapp/news"), ("on", "email/nonsense"), ("do", "save"))
    assert 'value="email/offers">' in saved
    reach = {(r["channel"], r["topic"]): r["allowed"] for r in town.known()["reach"]}
    assert reach[("email", "offers")] is False
    assert reach[("sms", "news")] is True
    assert reach[("email", "orders")] is True
    assert town.known()["profiling"] is False  # its box was taken off as well
    n_lines = len(town.known()["consent_history"])
    post(("on", "sms/news"), ("on", "inapp/news"), ("do", "save"))  # the same again
    assert len(town.known()["consent_history"]) == n_lines == 2
    town.clock.advance(NOON + timedelta(hours=1))
    post(("on", "email/offers"), ("on", "sms/news"), ("on", "inapp/news"), ("profiling", "in"), ("do", "save"))
    assert len(town.known()["consent_history"]) == 2  # the form showed as ticked what is not any more


def test_leaving_everything_and_coming_back_for_one_topic(town: Town) -> None:
    """One button ends all marketing; later one box lets that topic through on that channel; old copies lift nothing."""
    path = path_in(town.known()["preferences_url"])
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(2):
        assert "unsubscribed from everything" in town.client.post(path, content="do=none", headers=form).text
    assert [r["channel"] for r in town.known()["reach"] if r["allowed"]] == ["email"]  # the order confirmation
    stamped = {"consent": {"categoryPreferences": {"email": True, "profiling": True}}}
    town.tell({"type": "identify", "messageId": "i2", "context": stamped})
    assert len([r for r in town.known()["reach"] if r["allowed"]]) == 1
    town.clock.advance(NOON + timedelta(hours=1))
    town.client.post(path, content="was=on:email/offers:out&on=email/offers&do=save", headers=form)
    allowed = {(r["channel"], r["topic"]) for r in town.known()["reach"] if r["allowed"]}
    assert allowed == {("email", "offers"), ("email", "orders")}
    assert len(town.known()["consent_history"]) == 4


def test_a_closed_address_cannot_be_opened_by_a_box(town: Town) -> None:
    """After a complaint its boxes are there, off and locked, and a made-up form changes nothing."""
    town.tell({"event": "Email Marked as Spam", "messageId": "s1"})
    path = path_in(town.known()["preferences_url"])
    assert 'value="email/offers" disabled' in town.client.get(path).text
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    town.client.post(path, content="was=on:email/offers:out&on=email/offers&do=save", headers=form)
    assert len(town.known()["consent_history"]) == 1


def test_one_click_may_end_a_topic_alone_if_the_playbook_says_so(tmp_path: Path) -> None:
    """`consent.unsubscribe: topic`."""
    text = PLAYBOOK.replace('{default: {"*": in}}', '{default: {"*": in}, unsubscribe: topic}')
    desk, clock = opened(tmp_path, text)
    with TestClient(create_app(Parts(settings=Settings(), desk=desk, freeze=False))) as client:
        town = Town(client, desk, clock)
        assert "Offers &amp;" in client.get(f"/unsubscribe/{town.token(Page.UNSUBSCRIBE)}").text
        client.post(f"/unsubscribe/{town.token(Page.UNSUBSCRIBE)}")
        assert [(c["channel"], c["topic"]) for c in town.known()["consent"]] == [("email", "offers")]


def test_a_link_follows_its_customer_through_a_merge(town: Town) -> None:
    """A token made for an anonymous id works for whoever that turned out to be."""
    token = town.token(Page.UNSUBSCRIBE, customer_id="anon:a9")
    town.tell({"type": "identify", "messageId": "i3", "anonymousId": "a9"})
    assert town.client.post(f"/unsubscribe/{token}").status_code == 200
    assert [c["channel"] for c in town.known()["consent"]] == ["email"]


def test_suppressed_customers_get_nothing_until_lifted(town: Town) -> None:
    """By hash of the address: e-mail of all purposes; the reason is in the answer; lifting brings everything back."""
    digest = hashlib.sha256(b"c1@example.com").hexdigest()
    listed = {"entries": [{"email_sha256": digest}], "source": "legal"}
    for n in (1, 0):
        answer = town.client.post("/v1/suppressions", json=listed).json()
        assert answer == {"entries": 1, "changed": n, "released": 0}
    answer = town.ask(dry_run=True, channels=["email"])
    (removed,) = [r for r in answer["removed"] if r["campaign"] == "hello"]
    assert (removed["reason"], removed["detail"]["source"]) == ("suppressed", "legal")
    assert town.ask(dry_run=True, channels=["sms"])["messages"]
    town.tell(ORDER)
    assert town.wait() == []
    assert town.known()["suppressions"][0]["listed_by"] == "email"
    town.client.post("/v1/suppressions", json={**listed, "state": "off"})
    assert town.ask(dry_run=True, channels=["email"])["messages"]


def test_an_address_listed_after_the_booking_is_met_at_hand_off(town: Town) -> None:
    """And a suppressed anonymous id stays listed when it turns out to be somebody."""
    town.clock.advance(NOON + timedelta(hours=10))
    town.tell(CART)
    town.wait(1)
    town.client.post("/v1/suppressions", json={"entries": [{"email": "C1@example.com"}], "purpose": "marketing"})
    assert town.wait(12) == []
    town.tell({"messageId": "a", "userId": None, "anonymousId": "a7", "event": "Product Viewed"})
    town.client.post("/v1/suppressions", json={"entries": [{"customer_id": "anon:a7"}]})
    town.tell({"type": "identify", "messageId": "i7", "anonymousId": "a7"})
    assert {s["listed_by"] for s in town.known()["suppressions"]} == {"email", "customer_id"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "entries"),
        ({"entries": []}, "entries"),
        ({"entries": [7]}, "entries[0]"),
        ({"entries": [{"email": "a@b.c", "phone": "+441234"}]}, "entries[0]"),
        ({"entries": [{"fax": "1"}]}, "entries[0]"),
        ({"entries": [{"email": "a@b.c"}, {"email": "nobody"}]}, "entries[1].email"),
        ({"entries": [{"email_sha256": "xyz"}]}, "entries[0].email_sha256"),
        ({"entries": [{"customer_id": ""}]}, "entries[0].customer_id"),
        ({"entries": [{"phone": 7}]}, "entries[0].phone"),
        ({"entries": [{"email": "a@b.c"}], "state": "maybe"}, "state"),
        ({"entries": [{"email": "a@b.c"}], "purpose": "fun"}, "purpose"),
    ],
)
def test_a_bad_list_names_its_fault_and_nothing_of_it_is_kept(town: Town, body: dict[str, Any], field: str) -> None:
    """422 with the member at fault."""
    answer = town.client.post("/v1/suppressions", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


@pytest.mark.parametrize("proof", [7, "x", ["a"], {"a": "x" * 5000}, {"a": "\x00"}])
def test_a_proof_is_a_small_clean_object(town: Town, proof: Any) -> None:
    """422 otherwise."""
    answer = town.client.put("/v1/customers/c1/consent", json={**NO, "proof": proof})
    assert answer.status_code == 422
    assert str(answer.json()["field"]).startswith("proof")
