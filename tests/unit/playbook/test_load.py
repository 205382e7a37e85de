"""A playbook loads whole, or says everything that is wrong with it at once, with places and advice."""

import json
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opportune.playbook.check import check
from opportune.playbook.conditions import Names
from opportune.playbook.load import PlaybookInvalid, from_source, load, load_files
from opportune.playbook.shape import to_json_schema
from opportune.playbook.values import parse_duration

SMALL = """\
topics:
  news: {}
triggers:
  cart:
    on: {event: Product Added, key: properties.cart_id}
    unless: {event: Order Completed}
    wait: 1h
    when: features.cart_value >= 30
campaigns:
  reminder:
    trigger: cart
    topic: news
    channels: [email]
    content:
      email: {subject: Hello, body: Come back}
"""
NAMES = Names({"cart_value": "float"}, frozenset({"purchase"}))


def problems_of(*texts: str) -> list[str]:
    with pytest.raises(PlaybookInvalid) as caught:
        load_files({f"{name}.yaml": text.encode() for name, text in zip("abcd", texts, strict=False)}, NAMES)
    return [str(problem) for problem in caught.value.problems]


def said(lines: list[str], *parts: str) -> bool:
    return any(all(part in line for part in parts) for line in lines)


def test_the_packaged_playbook_loads_without_a_warning() -> None:
    playbook = load(None)
    assert playbook.warnings == ()
    assert set(playbook.spec.campaigns) == {
        *("welcome", "cart_reminder", "browse_reminder", "order_confirmation", "password_reset", "likely_buyer_offer")
    }
    assert playbook.starting("Product Added") == ("cart_abandoned",)
    assert playbook.stopping("Order Completed") == ("browse_abandoned", "cart_abandoned")
    assert playbook.starting("Order Completed") == ("order_confirmation",)
    assert playbook.campaigns_of("offer") == ("likely_buyer_offer",)
    assert playbook.starting("Nothing Known") == () == playbook.campaigns_of("nothing")
    assert playbook.reads(playbook.spec.campaigns["likely_buyer_offer"].when) == {"scores.purchase"}
    assert playbook.reads(None) == set()


def test_a_condition_is_asked_through_the_playbook_and_none_is_true() -> None:
    playbook = load_files({"a.yaml": SMALL.encode()}, NAMES)
    when = playbook.spec.triggers["cart"].when
    assert playbook.holds(when, {"features": {"cart_value": 31}})
    assert not playbook.holds(when, {"features": {}})
    assert playbook.holds(None, {})
    assert playbook.holds("event.a == 1", {"event": {"a": 1}})


def test_the_source_makes_an_equal_playbook_with_the_same_hash() -> None:
    playbook = load(None)
    again = from_source(playbook.source)
    assert (again.hash, again.source, again.spec) == (playbook.hash, playbook.source, playbook.spec)
    assert list(again.spec.campaigns) == list(playbook.spec.campaigns)
    assert pickle.loads(pickle.dumps(playbook)).hash == playbook.hash
    assert playbook.hash.startswith("sha256:")
    assert len(playbook.hash) == 71


def test_neither_the_order_of_blocks_nor_their_files_nor_comments_change_the_hash() -> None:
    whole = load_files({"a.yaml": SMALL.encode()}, NAMES)
    head, tail = SMALL.split("campaigns:")
    parts = {"z.yaml": head.encode(), "b.yaml": b"# words\ncampaigns:" + tail.encode(), "empty.yaml": b"# nothing\n"}
    assert load_files(parts, NAMES).hash == whole.hash
    assert load_files({"a.yaml": SMALL.replace("30", "31").encode()}, NAMES).hash != whole.hash


def test_a_stored_playbook_is_read_even_when_a_feature_is_gone() -> None:
    source = load_files({"a.yaml": SMALL.encode()}, NAMES).source.replace(b"cart_value", b"retired_1d")
    playbook = from_source(source)
    assert not playbook.holds(playbook.spec.triggers["cart"].when, {"features": {"cart_value": 50}})
    with pytest.raises(PlaybookInvalid, match="cannot be read"):
        from_source(b"{")


def test_all_problems_come_at_once_with_file_line_path_and_advice() -> None:
    first = """\
currency: pounds
topics:
  news: {purpos: marketing}
triggers:
  cart:
    on: {event: Product Added, key: cart_id}
    unless: {event: Order Completed, evnt: x}
    wait: 60
    when: features.cart_valu >= 30
  Bad Name: {on: {event: X}}
  lonely: {kind: absence, on: {event: X}}
"""
    second = """\
campaigns:
  reminder:
    trigger: crat
    topic: news
    channels: [email, fax]
    goal: order
    content:
      email:
        subject: Hi {{ trait.name }}
        body: |
          Dear
          {{ traits.name | upcas }}
    when: scores.purchase >= "high"
    starts_at: 2026-02-01
    ends_at: 2026-01-01
caps:
  weekly: {at_most: 3}
  tagged: {counts: {tag: sale, campaign: remindr}, at_most: 1, in: 7 days}
consent:
  default: {emial: in, profiling: out}
quiet_hours: {start: 25:00, end: 08:00}
"""
    found = problems_of(first, second)
    for parts in (
        ("a.yaml:1: currency", "three capital letters"),
        ("a.yaml:3: topics.news.purpos", "did you mean `purpose`?"),
        ("a.yaml:6: triggers.cart.on.key", "write `properties.cart_id`"),
        ("a.yaml:7: triggers.cart.unless.evnt", "did you mean `event`?"),
        ("a.yaml:8: triggers.cart.wait", "60 has no unit", "60s"),
        ("a.yaml:9: triggers.cart.when", "character 1", "did you mean `cart_value`?"),
        ("a.yaml:10: triggers.Bad Name", "lower-case letters"),
        ("a.yaml:11: triggers.lonely", "needs `on`, `unless` and `wait`"),
        ("b.yaml:3: campaigns.reminder.trigger", "did you mean `cart`?"),
        ("b.yaml:5: campaigns.reminder.channels.1", "`fax` is not one of email, push, sms"),
        ("b.yaml:6: campaigns.reminder.goal", "none is declared"),
        ("b.yaml:9: campaigns.reminder.content.email.subject", "did you mean `traits`?"),
        ("b.yaml:10: campaigns.reminder.content.email.body", "line 2", "did you mean `upcase`?"),
        ("b.yaml:13: campaigns.reminder.when", "character 17", "never comparable"),
        ("b.yaml:17: caps.weekly", "both `at_most` and `in`"),
        ("b.yaml:18: caps.tagged", "not a duration"),
        ("b.yaml:20: consent.default.emial", "did you mean `email`?"),
        ("b.yaml:20: consent.default.profiling", "consent.profiling"),
        ("b.yaml:21: quiet_hours.start", "21:00"),
    ):
        assert said(found, *parts), (parts, found)
    assert len(found) == 19, "\n".join(found)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (("topic: news", "topic: newz"), ("campaigns.reminder.topic", "did you mean `news`?")),
        (("    topic: news\n", ""), ("campaigns.reminder.topic", "is missing")),
        (("channels: [email]", "channels: [email, sms]"), ("campaigns.reminder", "no content for channel sms")),
        (("channels: [email]", "channels: email"), ("campaigns.reminder.channels", "expected a list")),
        (("channels: [email]", "channels: [email, email]"), ("named twice",)),
        (("{event: Order Completed}", "{event: Product Added}"), ("would never fire",)),
        (("wait: 1h", "wait: 0h"), ("triggers.cart.wait", "longer than 0")),
        (("wait: 1h", "wait: 1 hour"), ("a.yaml:7", "30m or 7d")),
        (
            ("on: {event: Product Added, key: properties.cart_id}", "on: [1, 2]"),
            ("triggers.cart.on", "keys and values"),
        ),
        (("body: Come back", "body: 2024"), ("content.email.body", "put it in quotes")),
        (("triggers:", "triggers: 3\nsome:"), ("a.yaml:3: triggers", "keys and values")),
        (("topics:", "topcis:"), ("topcis", "did you mean `topics`?")),
    ],
)
def test_each_fault_is_named_where_it_stands(change: tuple[str, str], parts: tuple[str, ...]) -> None:
    assert said(problems_of(SMALL.replace(*change)), *parts), problems_of(SMALL.replace(*change))


def test_a_transactional_trigger_needs_a_transactional_topic() -> None:
    text = SMALL.replace("unless: {event: Order Completed}", "kind: transactional").replace("    wait: 1h\n", "")
    assert said(problems_of(text), "campaigns.reminder.topic", "purpose: transactional")


def test_content_and_variants_together_are_refused() -> None:
    text = SMALL + "    variants:\n      b: {content: {email: {body: x}}}\n"
    assert said(problems_of(text), "campaigns.reminder.variants", "not both")


def test_conditions_on_arriving_events_read_the_event_alone() -> None:
    text = SMALL.replace("{event: Order Completed}", '{event: Order Completed, when: "features.cart_value > 1"}')
    assert said(problems_of(text), "a.yaml:6: triggers.cart.unless.when", "only `event.*` can be read here")


def test_a_name_declared_in_two_files_names_both_places() -> None:
    found = problems_of(SMALL, "topics:\n  news: {}\ncurrency: EUR\n", "currency: GBP\n")
    assert said(found, "b.yaml:2: topics.news", "a.yaml:2")
    assert said(found, "c.yaml:1: currency", "b.yaml:3")


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a: b: c\n", 1, "`: ` where none is expected"),
        ("triggers:\n\tx: 1\n", 2, "tab"),
        ("topics:\n  a: {}\n  a: {}\n", 3, "written twice: the first is in line 2"),
        ("topics: {}\n---\ntopics: {}\n", 2, "one document per file"),
        ("topics: !!python/name:os.system x\n", 1, "tag"),
        ("topics: &a\n  b: *a\n", 1, "anchor that contains itself"),
        ("a: [1, 2\n", 2, "not readable"),
        ("a: {b: Which?, c: d}\n", 1, "put quotes around a whole text"),
        ("- a\n", 1, "at the top"),
        ("[" * 1200, 1, "nested too deeply"),
    ],
)
def test_unreadable_yaml_names_the_line(text: str, line: int, part: str) -> None:
    found = problems_of(text)
    assert said(found, f"a.yaml:{line}:", part), found


def test_a_small_file_that_unfolds_without_end_is_refused() -> None:
    layers = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    assert said(problems_of("a0: &a0 [x]\n" + layers), "too many values")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(PlaybookInvalid, match="not UTF-8"):
        load_files({"a.yaml": b"topics:\n  \xff: {}\n"})
    with pytest.raises(PlaybookInvalid, match=r"U\+0007"):
        load_files({"a.yaml": b"topics:\n  a\x07: {}\n"})


def test_an_unreadable_file_does_not_raise_false_alarms_about_its_names() -> None:
    found = problems_of("topics:\n  news: {}\ntriggers: {cart: [}\n", SMALL[SMALL.index("campaigns") :])
    assert len(found) == 1
    assert "a.yaml:3" in found[0]


def test_yaml_means_what_it_says() -> None:
    text = SMALL + "quiet_hours: {start: 21:00, end: 08:00}\nconsent: {default: {email: in, '*': out}}\n"
    text = text.replace("wait: 1h", "wait: 1h\n    starts_at: 2026-03-01\n    ends_at: 2026-03-02T12:00:00+02:00")
    spec = load_files({"a.yaml": text.encode()}, NAMES).spec
    assert spec.quiet_hours is not None
    assert (spec.quiet_hours.start.hour, spec.quiet_hours.end.hour) == (21, 8)
    assert spec.triggers["cart"].starts_at == datetime(2026, 3, 1, tzinfo=UTC)
    assert spec.triggers["cart"].ends_at == datetime(2026, 3, 2, 10, tzinfo=UTC)
    assert spec.triggers["cart"].kind == "absence"


def test_what_is_probably_not_meant_is_a_warning() -> None:
    text = SMALL.replace("topics:\n", "topics:\n  idle: {}\n").replace("triggers:\n", "triggers:\n  alone: {}\n")
    text = text.replace("subject: Hello, body: Come back", "body: 'Hi {{ traits.first_name }}', cta: Go")
    warnings = [str(w) for w in load_files({"a.yaml": text.encode()}, NAMES).warnings]
    for parts in (
        ("a.yaml:5: triggers.alone", "no campaign or journey uses"),
        ("topics.idle", "no campaign"),
        ("without a `subject`",),
        ("`cta` and `url`",),
        ("content.email.body", "add a fallback"),
    ):
        assert said(warnings, *parts), warnings


@pytest.mark.parametrize(
    ("trigger", "sure", "unsure"),
    [
        ("{date: traits.birthday, every: year}", "event.years", "event.name"),
        ("{date: properties.on, on: {event: E}, every: once}", "event.days", "event.years"),
        ("{change: price_drop}", "event.old_price", "event.old_stock"),
        ("{milestone: traits.points, levels: [5]}", "event.level", "event.days"),
    ],
)
def test_what_a_trigger_always_carries_needs_no_fallback(trigger: str, sure: str, unsure: str) -> None:
    """Everything else of the event may be missing."""
    cart = SMALL[SMALL.index("  cart:") : SMALL.index("campaigns:")]
    text = "consent: {default: {email: in}}\n" + SMALL.replace(cart, f"  cart: {trigger}\n")
    text = text.replace("body: Come back", f"body: '{{{{ {sure} }}}} {{{{ {unsure} }}}}'")
    warnings = [str(w) for w in load_files({"a.yaml": text.encode()}, NAMES).warnings]
    assert len(warnings) == 1
    assert said(warnings, f"`{unsure}` may be missing")


def test_a_folder_without_yaml_or_without_existence_says_so(tmp_path: Path) -> None:
    with pytest.raises(PlaybookInvalid, match="no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(PlaybookInvalid, match=r"no \*\.yaml file"):
        load(tmp_path)
    (tmp_path / "one.yaml").write_text(SMALL)
    (tmp_path / "notes.txt").write_text("not: [yaml")
    assert load(tmp_path).hash == load(tmp_path / "one.yaml").hash


def test_check_gives_problems_warnings_and_a_summary_without_raising(tmp_path: Path) -> None:
    good = check(None)
    assert good.is_valid
    assert good.summary == "6 triggers, 6 campaigns, 2 caps, 2 goals, 5 topics"
    (tmp_path / "a.yaml").write_text(SMALL.replace("cart_value", "cart_valeu") + "currency: x\n")
    bad = check(tmp_path)
    assert not bad.is_valid
    assert bad.playbook is None
    assert bad.summary == "2 problems"


def test_a_duration_survives_being_written_and_read() -> None:
    text = SMALL.replace("wait: 1h", "wait: 90m\n    cooldown: 2w\n    delay: 0s")
    playbook = load_files({"a.yaml": text.encode()}, NAMES)
    stored = json.loads(playbook.source)["triggers"]["cart"]
    assert (stored["wait"], stored["cooldown"], stored["delay"]) == ("90m", "14d", "0s")
    assert from_source(playbook.source).spec.triggers["cart"].wait == timedelta(minutes=90)
    assert parse_duration("2 w") == timedelta(days=14)


def test_the_shipped_json_schema_is_the_generated_one() -> None:
    shipped = Path(load.__code__.co_filename).parent / "schema.json"
    assert json.loads(shipped.read_text()) == to_json_schema(), "write it again: python -m opportune.playbook.shape"
    for file in (shipped.parent / "default").glob("*.yaml"):
        assert file.read_text().startswith("# yaml-language-server: $schema=../schema.json\n")
