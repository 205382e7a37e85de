"""The small playbook `opportune init` writes: one trigger, one cap, every line explained. Pure."""

from collections.abc import Collection

_HEAD = """\
# Your playbook: who may hear from you, how often, when, and what you say.
# `opportune check THIS_FOLDER` reads every line of it; docs/playbook.md explains every key.

currency: GBP                  # amounts called *_minor are its hundredths
max_messages: 1                # at most this many messages come out of one decision
"""
_GOALS = """
goals:                         # what you hope for; models, reports and ranking refer to goals
  {name}:
    event: {event}
    {value}horizon: 30d               # how long after a message it may still count
"""
_POLICY = """
topics:                        # what a message is about; consent is kept per channel and topic
  {topic}: {{purpose: marketing, description: {description}}}

consent:                       # what holds while a customer has said nothing
  default: {{email: out, "*": out}}   # `in` only where the law lets you (soft opt-in, own customers)
  profiling: in                # scores may be used until the customer objects

quiet_hours: {{start: "21:00", end: "08:00"}}   # local time of the customer

caps:
  marketing_per_week:          # at most 2 in any seven days in a row
    counts: {{purpose: marketing}}
    at_most: 2
    in: 7d
"""
_CART = """
triggers:
  cart_abandoned:              # something was put into the basket, and no order within an hour
    on: {event: Product Added}
    unless: {event: Order Completed}
    wait: 1h
    cooldown: 3d               # not again for three days

campaigns:
  cart_reminder:
    trigger: cart_abandoned
    topic: reminders
    channels: [email]
    goal: order
    content:
      email:
        subject: 'Your basket is waiting, {{ traits.first_name | default: "there" }}'
        body: |
          <p>You left {{ event.name | default: "something" }} in your basket. It is still there.</p>
          {% if unsubscribe_url %}<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>{% endif %}
        cta: Back to my basket
        url: https://shop.example/cart
"""
_THANKS = """
triggers:
  {trigger}:                   # {why}
    on: {{event: {event}}}
    delay: {delay}
    cooldown: 30d              # not again for a month

campaigns:
  {campaign}:
    trigger: {trigger}
    topic: {topic}
    channels: [email]{goal}
    content:
      email:
        subject: '{subject}'
        body: |
          <p>Hello {{{{ traits.first_name | default: "there" }}}},</p>
          <p>{body}</p>
          {{% if unsubscribe_url %}}<p><a href="{{{{ unsubscribe_url }}}}">Unsubscribe</a></p>{{% endif %}}
        cta: {cta}
        url: https://shop.example/
"""


def playbook_text(events: Collection[str] = ("Product Added", "Order Completed"), traits: Collection[str] = ()) -> str:
    """A playbook that uses only what these events make possible; it always passes `check`."""
    has_order = "Order Completed" in events
    goals = ""
    if has_order:
        value = "value: properties.total     # what an order was worth, for reports\n    "
        value += "value_minor: 2500          # what ranking expects one to be worth: 25.00\n    "
        goals = _GOALS.format(name="order", event="Order Completed", value=value)
    elif "Signed Up" in events:
        goals = _GOALS.format(name="sign_up", event="Signed Up", value="")
    goal = "\n    goal: order" if has_order else ""
    if {"Product Added", "Order Completed"} <= set(events):
        topic, description, rest = "reminders", "What you left in your basket", _CART
    elif "Signed Up" in events:
        topic, description = "welcome", "Getting to know us"
        rest = _THANKS.format(
            trigger="welcome", why="somebody has just joined", event="Signed Up", delay="10m", campaign="welcome",
            topic=topic, goal=goal, subject="Welcome", body="thank you for joining us.", cta="Have a look round",
        )  # fmt: skip
    elif has_order:
        topic, description = "service", "After your order"
        rest = _THANKS.format(
            trigger="after_order", why="a week after an order", event="Order Completed", delay="7d",
            campaign="after_order", topic=topic, goal=goal, subject="How do you like it?",
            body="we hope you are happy with your order.", cta="Tell us",
        )  # fmt: skip
    else:
        topic, description = "offers", "What may interest you"
        event = next((e for e in ("Product Viewed", "Page Viewed", *sorted(events)) if e in events), "Page Viewed")
        rest = _THANKS.format(
            trigger="visited", why="somebody was here", event=event, delay="2h", campaign="come_back", topic=topic,
            goal="", subject="Good to see you", body="here is what is new.", cta="Have a look",
        )  # fmt: skip
    return _HEAD + goals + _POLICY.format(topic=topic, description=description) + rest
