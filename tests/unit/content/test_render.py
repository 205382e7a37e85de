"""Contents render safely, quickly and the same every time."""

from time import thread_time
from typing import Any

import pytest

from opportune.content.render import RenderFailed, render
from opportune.playbook.schema import Content
from opportune.playbook.templates import check_template, without_fallback

ENV: dict[str, Any] = {
    "traits": {"first_name": "<b>Ann</b>", "points": 7, "none_yet": ""},
    "event": {"name": "Mug", "total": 1234.5, "url": "javascript:alert(1)", "products": [{"name": "a"}, {"name": "b"}]},
    "features": {"cart_value": 42.125},
    "scores": {"purchase": 0.3},
    "context": {"store": "Leeds"},
    "customer_id": "c42",
}


def body(template: str, channel: str | None = "sms", env: dict[str, Any] = ENV) -> str:
    return render(Content(body=template), env, channel)["body"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Hi {{ traits.first_name }}", "Hi <b>Ann</b>"),
        ('{{ traits.nick | default: "there" }}{{ traits.none_yet | default: "!" }}', "there!"),
        ("[{{ traits.nick }}{{ nothing.at.all }}]", "[]"),
        ("{{ event.total | money }} {{ features.cart_value | money }} {{ traits.nick | money }}", "1,234.50 42.12"),
        ("{% for p in event.products %}{{ p.name }}{% unless forloop.last %}, {% endunless %}{% endfor %}", "a, b"),
        ("{% if scores.purchase > 0.2 %}{{ context.store }}{% else %}no{% endif %} {{ customer_id }}", "Leeds c42"),
        (
            '{{ "2026-03-01T09:30:00+00:00" | date: "%d %B %Y" }} {{ 0 | date: "%Y-%m-%d %H" }}',
            "01 March 2026 1970-01-01 00",
        ),
        ('{{ "next friday" | date: "%Y" }}', "next friday"),
        ("plain", "plain"),
    ],
)
def test_a_template_gives_the_words_its_author_reads(template: str, expected: str) -> None:
    assert body(template) == expected


@pytest.mark.parametrize(
    ("channel", "escaped"),
    [("email", True), ("onsite", True), (None, True), ("sms", False), ("push", False), ("inapp", False)],
)
def test_values_in_an_html_body_are_escaped_and_in_plain_text_are_not(channel: str | None, escaped: bool) -> None:
    expected = "<i>&lt;b&gt;Ann&lt;/b&gt;</i>" if escaped else "<i><b>Ann</b></i>"
    assert body("<i>{{ traits.first_name }}</i>", channel) == expected


def test_only_declared_fields_come_back_and_all_but_the_body_are_one_line() -> None:
    env = ENV | {"traits": {"first_name": "A\r\nBcc: x@y"}}
    content = Content(
        subject="Hi {{ traits.first_name }}", body=" two\nlines ", cta="Go", url="https://shop.example/{{ event.name }}"
    )
    assert render(content, env, "email") == {
        "subject": "Hi A Bcc: x@y",
        "body": "two\nlines",
        "cta": "Go",
        "url": "https://shop.example/Mug",
    }
    assert set(render(Content(body="x"), env)) == {"body"}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (Content(body="x", url="{{ event.url }}"), "url leads to"),
        (Content(body="x", url=" \tJaVaScRiPt:alert(1)"), "url leads to"),
        (Content(body="{{ traits.nick }}"), "body is empty"),
        (Content(body="x", subject="{{ traits.nick }}"), "subject is empty"),
        (Content(body="{% if %}"), "body: line 1"),
        (Content(body="{{ 1 | divided_by: 0 }}"), "body:"),
        (Content(body="{{ traits.first_name | nonsense }}"), "nonsense"),
        (Content(body='{% include "x" %}'), "include"),
        (Content(body='{% render "x" %}'), "render"),
        (Content(body="{{ traits.first_name | safe }}"), "safe"),
        (Content(body='{{ "now" | date: "%Y" }}'), "not known"),
    ],
)
def test_what_cannot_be_rendered_says_which_field_and_why(content: Content, part: str) -> None:
    with pytest.raises(RenderFailed) as caught:
        render(content, ENV)
    assert part in caught.value.message


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in (1..1000000000) %}x{% endfor %}",
        "{% for i in (1..300) %}{% for j in (1..300) %}x{% endfor %}{% endfor %}",
        "{{ (1..1000000000) | join: 'x' }}",
        "{{ (1..1000000000) | reverse | size }}",
        "{% assign a = 'xxxxxxxxxx' %}{% for i in (1..60) %}{% assign a = a | append: a %}{% endfor %}{{ a }}",
        "{% assign a = 9 %}{% for i in (1..60) %}{% assign a = a | times: a %}{% endfor %}{{ a }}",
        "{% assign a = event.long | replace: 'x', event.long %}{{ a }}",
        "{{ event.long | split: '' | join: event.long }}",
        "{% for i in (1..9000) %}{{ event.long }}{% endfor %}",
        "{% for i in (1..9000) %}{% capture x %}{{ event.long | upcase | downcase }}{% endcapture %}{% endfor %}done",
        "{% if true %}" * 200 + "{% endif %}" * 200,
        "{{ event.many | sort | join: ',' }}",
    ],
)
def test_a_hostile_template_ends_in_time_with_a_reason(template: str) -> None:
    env = ENV | {"event": {"long": "x" * 30_000, "many": list(range(16_000))}}
    before = thread_time()
    with pytest.raises(RenderFailed):
        body(template, env=env)
    assert thread_time() - before < 0.5  # 50 ms of computing is the rule; the last single step may overrun it


def test_no_attribute_of_a_value_can_be_reached() -> None:
    assert body("[{{ traits.__class__ }}{{ event.name.__class__.__mro__ }}{{ event.products.append }}]") == "[]"


def test_a_check_names_unknown_names_features_and_filters_with_lines() -> None:
    text = "Hi {{ trait.name }}\n{{ features.cart_valu }}\n{{ event.properties.x }} {{ traits.a | upcas }}"
    problems = check_template(text, {"cart_value": "float"})
    assert [line for line, _ in sorted(problems)] == [1, 2, 3, 3]
    said = " ".join(message for _, message in problems)
    for part in (
        "did you mean `traits`?",
        "did you mean `cart_value`?",
        "leave `properties` out",
        "did you mean `upcase`?",
    ):
        assert part in said


def test_a_check_finds_what_fails_when_names_are_missing() -> None:
    (problem,) = check_template("{{ 3 | divided_by: traits.n }}", {})
    assert "when every name is missing" in problem[1]
    assert check_template("{% assign n = traits.n | default: 1 %}{{ 3 | divided_by: n }}", {}) == []


def test_values_written_without_a_fallback_are_found_outside_conditions() -> None:
    text = '{{ traits.a }}\n{{ event.b | default: "x" }}{% if event.c %}{{ event.c }}{% endif %}{{ features.d }}'
    assert without_fallback(text) == [(1, "traits.a")]
