"""The reference of the offline benchmark: what one would write in a notebook, without lateness, identities or carts."""

from collections.abc import Sequence
from datetime import datetime

COUNTED = (
    "Order Completed", "Order Refunded", "Product Viewed", "Product Added", "Product Removed", "Page Viewed",
    "Message Sent", "Email Opened", "Email Link Clicked",
)  # fmt: skip
WINDOWS_DAYS = (1, 7, 30, 90)


def plain_sql(files: Sequence[str], at: datetime) -> str:
    """One row per customer of `asked`: counts by event and window, sums, first and last instants, days with a visit."""
    moment = f"TIMESTAMPTZ '{at.isoformat()}'"
    columns = []
    for name in COUNTED:
        short = name.lower().replace(" ", "_")
        columns.append(f"count(e.name) FILTER (e.name = '{name}') AS {short}_all")
        columns.append(
            f"date_diff('second', max(event_at) FILTER (e.name = '{name}'), {moment}) / 86400 AS {short}_age"
        )
        for days in WINDOWS_DAYS:
            inside = f"e.name = '{name}' AND event_at > {moment} - INTERVAL {days} DAY"
            columns.append(f"count(e.name) FILTER ({inside}) AS {short}_{days}d")
    for name in ("Order Completed", "Order Refunded"):
        short = name.lower().replace(" ", "_")
        columns.append(f"coalesce(sum(value_minor) FILTER (e.name = '{name}'), 0) / 100 AS {short}_sum_all")
        for days in (30, 90):
            inside = f"e.name = '{name}' AND event_at > {moment} - INTERVAL {days} DAY"
            columns.append(f"coalesce(sum(value_minor) FILTER ({inside}), 0) / 100 AS {short}_sum_{days}d")
    columns.append(
        f"date_diff('second', min(event_at) FILTER (e.name = 'Order Completed'), {moment}) / 86400 AS first_age"
    )
    columns.append(f"date_diff('second', max(event_at), {moment}) / 86400 AS last_active_age")
    for days in (7, 30, 90):
        inside = f"event_at > {moment} - INTERVAL {days} DAY"
        columns.append(f"count(DISTINCT CAST(event_at AS DATE)) FILTER ({inside}) AS days_{days}d")
    paths = ", ".join("'" + path.replace("'", "''") + "'" for path in files)
    return f"""
        SELECT asked.customer_id, {moment} AS at, {", ".join(columns)}
        FROM asked LEFT JOIN read_parquet([{paths}]) AS e ON e.customer_id = asked.customer_id AND event_at <= {moment}
        GROUP BY asked.customer_id
    """
