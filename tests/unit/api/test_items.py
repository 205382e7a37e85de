"""The catalogue at the door."""

from collections.abc import Callable

from tests.unit.api.conftest import House


def test_an_item_is_put_and_read_with_its_changes(house: House) -> None:
    """Fields left out stay; the same update again changes nothing; prices in minor and major units."""
    first = {"price_minor": 1990, "stock": 3, "category": "shoes", "attributes": {"colour": "red"}}
    assert house.client.put("/v1/items/p7", json=first).status_code == 200
    for _ in range(2):
        said = house.client.put("/v1/items/p7", json={"price": 14.9, "updated_at": "2026-03-01T12:00:00Z"})
    assert said.json()["price_minor"] == 1490
    found = house.client.get("/v1/items/p7").json()
    assert (found["price"], found["stock"], found["category"], found["attributes"]) == (
        14.9,
        3,
        "shoes",
        {"colour": "red"},
    )
    assert [(c["old_price_minor"], c["price_minor"], c["is_new"]) for c in found["changes"]] == [
        (1990, 1490, False),
        (None, 1990, True),
    ]
    with house.ledger.read() as uow:
        assert uow.outbox.depth("news") == 2


def test_an_unknown_item_is_404_and_a_bad_field_is_named(house: House) -> None:
    """422 with the field; a body that is no JSON is 400."""
    assert house.client.get("/v1/items/p9").status_code == 404
    answer = house.client.put("/v1/items/p9", json={"stock": "many"})
    assert (answer.status_code, answer.json()["field"]) == (422, "stock")
    assert house.client.put("/v1/items/p9", content=b"{").status_code == 400
    assert house.client.put("/v1/items/" + "p" * 201, json={}).json()["field"] == "item_id"
    assert house.client.put("/v1/items/p9", json={"item_id": "p8"}).json()["field"] == "item_id"


def test_one_bad_item_does_not_fail_a_batch(house: House) -> None:
    """Answers come in order; the bad one carries its error."""
    items = [
        {"item_id": "a", "stock": 1},
        {"item_id": "b", "stock": "x"},
        {"stock": 1},
        7,
        {"item_id": "a", "stock": 0},
    ]
    told = house.client.post("/v1/items/batch", json={"items": items}).json()["items"]
    assert [t.get("error", {}).get("field") for t in told] == [
        None, "items[1].stock", "items[2].item_id", "items[3]", None,
    ]  # fmt: skip
    assert told[0]["item_id"] == "a"
    assert house.client.get("/v1/items/a").json()["stock"] == 0
    assert house.client.get("/v1/items/b").status_code == 404


def test_a_batch_is_limited(house: House) -> None:
    """1,000 items at a time, at least one, and nothing beside them."""
    for body in ({"items": []}, {}, {"items": [{"item_id": "a"}] * 1001}, {"items": [{"item_id": "a"}], "x": 1}):
        assert house.client.post("/v1/items/batch", json=body).status_code == 422


def test_the_catalogue_needs_the_admin_key(open_door: Callable[..., House]) -> None:
    """The write key is in every browser: it may not change prices."""
    house = open_door(api_key="ak", write_key="wk", decide_key="dk")
    for key, status in (("wk", 403), ("dk", 403), ("ak", 200)):
        headers = {"Authorization": f"Bearer {key}"}
        assert house.client.put("/v1/items/p7", json={"stock": 1}, headers=headers).status_code == status
