"""One published Python client sends events that carry a marker, and says what went wrong.

`python drive_python.py segment|rudder URL COUNT gzip|plain NAME PATIENCE`; prints `{"sent": n, "errors": [...]}`.
Message ids are the client's own; the marker `n` of each event is `NAME:0` to `NAME:COUNT-1`. PATIENCE: retries.
"""

import json
import logging
import sys


def main(library: str, url: str, count: int, is_packed: bool, name: str, patience: int) -> None:
    """Send one event of each kind in turn, mostly `track`, for 50 customers."""
    errors: list[str] = []

    def failed(error: object, items: object) -> None:
        errors.append(str(error)[:200])

    options = {"host": url, "on_error": failed, "gzip": is_packed, "max_retries": patience}
    options |= {"max_queue_size": 100_000, "upload_size": 100, "upload_interval": 0.2, "timeout": 15}
    logging.getLogger().addHandler(logging.NullHandler())
    if library == "segment":
        from segment.analytics.client import Client
    else:
        from rudderstack.analytics.client import Client
    client = Client("wk", **options)
    for i in range(count):
        user, mark = f"{name}-c{i % 50}", {"n": f"{name}:{i}"}
        if i % 25 == 0:
            client.identify(user, {**mark, "email": f"{user}@example.com"})
        elif i % 25 == 1:
            client.page(user, "Shop", "Home", {**mark, "url": "https://shop.example"})
        elif i % 25 == 2:
            client.group(user, "acme", {**mark, "plan": "pro"})
        elif i % 25 == 3:
            client.screen(user, "Shop", "Basket", mark)
        elif i % 25 == 4:
            client.track(user, "Order Completed", {**mark, "order_id": mark["n"], "revenue": 10.0})
        else:
            client.track(user, "Product Viewed", {**mark, "product_id": f"p{i % 7}", "price": 12.5})
    client.flush()
    while not client.queue.empty():  # a batch that was put back while a flush was counting
        client.flush()
    client.join()
    print(json.dumps({"sent": count, "errors": errors}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "gzip", sys.argv[5], int(sys.argv[6]))
