"""Decisions finish what they can read: nothing they need is missing, and a few get everything."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.desks import desk_of, playbook_of

from opportune.features.catalog import NAMES
from opportune.flows import reads

PLAYBOOK = """
topics: {news: {}}
triggers: {asked: {kind: request}}
campaigns:
  one:
    trigger: asked
    topic: news
    channels: [inapp]
    when: features.orders_n_30d >= 1
    content: {inapp: {body: "You viewed {{ features.views_n_7d }} things"}}
experiments:
  two:
    variations:
      a: {}
      b: {override: {campaigns.one.when: features.cart_items_n >= 1}}
"""


def test_conditions_templates_and_variations_are_read_and_nothing_else(tmp_path: Path) -> None:
    """Every feature that stands anywhere in the playbook, in the order of the catalogue; a longer name is another."""
    desk = desk_of(playbook_of(tmp_path, PLAYBOOK))
    read = reads.features_read(desk)
    assert set(read) == {"orders_n_30d", "views_n_7d", "cart_items_n", "last_active_age_days"}
    assert list(read) == [name for name in NAMES if name in read]


def test_about_one_in_sixteen_customers_gets_everything_and_not_the_same_ones_every_hour() -> None:
    """The share holds over customers and over hours."""
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    now = {c for c in range(4000) if reads.is_whole(f"c{c}", noon)}
    later = {c for c in range(4000) if reads.is_whole(f"c{c}", noon + timedelta(hours=1))}
    assert 180 < len(now) < 320
    assert now != later
