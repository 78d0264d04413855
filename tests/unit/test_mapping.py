"""A mapping file alone makes a feed: its example shows what it gives, and a wrong one is told with line, key, value and fix."""

import json
from pathlib import Path
from typing import Any

import pytest

from agents.intake.feeds import FOLDERS
from schemas import feed
from schemas.feed import FeedError, parse
from tests.unit.ingesting import World

FEEDS = sorted(path.stem for path in feed.FOLDER.glob("*.yaml"))
EXAMPLES = feed.FOLDER / "examples"
TOPICS = ("user-interactions", "product-updates", "market-signals", "weather-observations")
GOOD = """\
description: Orders of a shop
kind: events
fields:
  event_type: {constant: order_completed}
  event_timestamp: {column: when, format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}
  user_id: customer
  products:
    product_id: sku
    price: {column: price, decimal_comma: true}
"""


def ingest_mapped(mapping: str, data: str, name: str = "orders.csv") -> World:
    world = World().put("feeds/shop/mapping.yaml", mapping).put(f"feeds/shop/{name}", data)
    world.notify("feeds/shop/mapping.yaml")
    world.notify(f"feeds/shop/{name}")
    return world


def find_example(name: str) -> Path:
    (path,) = (path for path in EXAMPLES.glob(f"{name}.*") if not path.name.endswith(".rows.json"))
    return path


@pytest.mark.parametrize("name", FEEDS)
def test_a_feed_gives_the_rows_of_its_example(name: str) -> None:
    """Prevents: a mapping that nobody has ever seen the result of. Write the rows with: python -m tests.unit.test_mapping"""
    given = read_example(name)
    assert given == json.loads((EXAMPLES / f"{name}.rows.json").read_text(encoding="utf-8"))
    assert given["rows"], "an example without a good row shows nothing"


def read_example(name: str) -> dict[str, Any]:
    path = find_example(name)
    object_name = f"feeds/{name}/{path.name}"
    world = World().put(object_name, path.read_bytes())
    world.notify(object_name)
    rows = [row for topic in TOPICS for row in world.rows(topic)]
    return {
        "rows": [{key: value for key, value in row.items() if key != "received_at"} for row in rows],
        "refused": [
            {"line": row["origin"].rpartition("#")[2], "reason": row["reason"]} for row in world.rows("invalid-events")
        ],
    }


def test_a_mapping_may_lie_beside_its_files() -> None:
    world = ingest_mapped(GOOD, 'when,customer,sku,price\n20.11.2025 09:30,u1,A,"1.234,50"\n')
    (row,) = world.rows()
    assert row["event_timestamp"] == "2025-11-20T08:30:00Z"
    assert row["products"] == [{"product_id": "A", "price": "1234.5"}]
    assert (row["source"], row["user_id"]) == ("feeds/shop", "u1")


def test_bad_rows_of_a_group_are_kept_alone_and_the_rest_is_one_event() -> None:
    mapping = GOOD.replace("kind: events", "kind: events\ngroup_by: order\npersonal: [customer]")
    rows = [
        "1,20.11.2025 09:30,u1,A,1",
        "1,20.11.2025 09:30,u1,B,much",
        "1,20.11.2025 09:30,u1,C,3",
        "2,never,u2,D,4",
        "2,x,u2,E,5",
    ]
    world = ingest_mapped(mapping, "\n".join(["order,when,customer,sku,price", *rows]))
    (row,) = world.rows()
    assert [product["product_id"] for product in row["products"]] == ["A", "C"]
    assert world.refused() == [("3", "WRONG_TYPE"), ("5", "WRONG_TYPE"), ("6", "WRONG_TYPE")]
    assert "u1" not in str(world.rows("invalid-events")), "a column that the mapping declares personal is not kept"


def test_json_records_have_paths_and_lists() -> None:
    mapping = (
        GOOD.replace("customer\n", "buyer.id\n")
        .replace("    product_id", "    each: items\n    product_id")
        .replace("decimal_comma: true", "absolute: true")
    )
    mapping += '  properties.gift: {column: gift, type: boolean, when: {gift: ["*"]}}\n  properties.note: note\n'
    order = {
        "when": "20.11.2025 09:30",
        "buyer": {"id": 5},
        "items": [{"sku": "A", "price": -2}, {"sku": "B"}],
        "gift": "yes",
        "note": {"a": 1},
    }
    world = ingest_mapped(mapping, json.dumps([order, {**order, "items": 3}]), "orders.json")
    (row,) = world.rows()
    assert row["user_id"] == "5"
    assert row["products"] == [{"product_id": "A", "price": "2"}, {"product_id": "B"}]
    assert json.loads(row["properties"]) == {"gift": True, "note": {"a": 1}}
    assert world.refused() == [("1[2]", "WRONG_TYPE")]


def test_history_beyond_what_the_warehouse_takes_is_refused_not_moved_to_today() -> None:
    world = ingest_mapped(GOOD, "when,customer,sku,price\n20.11.2011 09:30,u1,A,1\n")
    (refused,) = world.rows("invalid-events")
    assert "shift_days" in refused["reason"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("kind: events", "kind: event"), r"mapping.yaml:2: kind: Invalid enum value 'event'"),
        (("user_id: customer", "usr_id: customer"), r":6: fields.usr_id is no field of this kind: did you mean 'user_id'\?"),
        (("  user_id: customer\n", ""), r":3: fields without user_id or anonymous_id: a feed of events must say where"),
        (("Europe/Berlin", "Europe/Brelin"), r":5: fields.event_timestamp.zone is 'Europe/Brelin': name an IANA zone"),
        (('"%d.%m.%Y %H:%M"', "dd.mm"), r":5: fields.event_timestamp.format is 'dd.mm': give iso, epoch_seconds"),
        (("column: when,", "colum: when,"), r":5: fields.event_timestamp.colum: .* did you mean 'column'\?"),
        (("{constant: order_completed}", "{}"), r":4: fields.event_type without a source: give exactly"),
        (("    product_id: sku\n", ""), r":7: fields.products without product_id: add product_id"),
        (("fields:\n", "file: {encoding: utf-16}\nfields:\n"), r":3: file.encoding is 'utf-16': name an encoding"),
        (("fields:\n", "file: {delimiter: '||'}\nfields:\n"), r":3: file.delimiter: Expected `str` of length <= 1"),
        (("fields:\n", "file: {columns: [when, custmer, sku, price]}\nfields:\n"), r":7: fields.user_id is .* 'custmer'\?"),
        (("user_id: customer", "user_id: {template: 'u-{}'}"), r":6: fields.user_id.template is 'u-{}': name columns in braces"),
        (("user_id: customer", "user_id: {column: customer, zone: Asia/Seoul}"), r":6: fields.user_id .*are for timestamps"),
        (("description: Orders of a shop\n", ""), r"missing required field `description`"),
        (("kind: events", "kind: [events"), r"not YAML"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_names_line_key_value_and_fix(change: tuple[str, str], message: str) -> None:
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(FeedError, match=message):
        parse(text, "shop", "feeds/shop/mapping.yaml")


def test_every_problem_of_a_mapping_is_told_at_once() -> None:
    with pytest.raises(FeedError) as caught:
        parse(GOOD.replace("user_id", "usr_id").replace("Europe/Berlin", "Mars"), "shop", "m.yaml")
    assert len(str(caught.value).splitlines()) == 3, "two problems, and that nobody says who it was"


def test_every_kind_has_a_folder_for_files_with_our_own_columns() -> None:
    assert set(feed.TARGETS) <= set(FOLDERS)


if __name__ == "__main__":
    for each in FEEDS:
        text = json.dumps(read_example(each), indent=1, ensure_ascii=False)
        (EXAMPLES / f"{each}.rows.json").write_text(text + "\n", encoding="utf-8")
