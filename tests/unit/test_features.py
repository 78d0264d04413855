"""What the graph's shape says of products and people, on graphs whose answer can be seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agents.recommender.features import Edge, Run, Touch, describe_products, describe_users

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RUN = Run("v1", NOW)
GROUPS = [Edge(a, b, 0.5) for group in ("abc", "xyz") for a in group for b in group if a != b]
BRIDGE = Edge("c", "x", 0.05)


def touch(user: str, products: str, day: int) -> list[Touch]:
    return [Touch(user, product, NOW + timedelta(days=day)) for product in products]


def test_products_that_hold_together_are_one_cluster() -> None:
    """Prevents: a weak bridge that makes one cluster of two."""
    found = {feature.product_id: feature for feature in describe_products([*GROUPS, BRIDGE, Edge("lone")], RUN)}
    members = {
        frozenset(name for name, other in found.items() if other.cluster == feature.cluster)
        for feature in found.values()
    }
    assert members == {frozenset("abc"), frozenset("xyz"), frozenset({"lone"})}
    assert [found[name].cluster_size for name in ("a", "z", "lone")] == [3, 3, 1]


def test_a_cluster_is_named_by_its_most_central_product() -> None:
    """Prevents: numbers that mean another cluster after each run."""
    star = [Edge("hub", name, 0.5) for name in "abcd"] + [Edge(name, "hub", 0.5) for name in "abcd"]
    assert {feature.cluster for feature in describe_products(star, RUN)} == {"hub"}


def test_the_same_graph_gives_the_same_features_in_any_order() -> None:
    """Prevents: features that change although nothing happened."""
    assert describe_products([*GROUPS, BRIDGE], RUN) == describe_products([*GROUPS, BRIDGE], RUN)
    turned = describe_products([BRIDGE, *reversed(GROUPS)], RUN)
    assert {feature.product_id: feature.cluster for feature in turned} == {
        feature.product_id: feature.cluster for feature in describe_products([*GROUPS, BRIDGE], RUN)
    }


def test_centrality_is_pagerank_around_one() -> None:
    """Prevents: a figure that shrinks because the shop grows."""
    found = describe_products([Edge("a", "b", 1.0), Edge("b", "a", 1.0), Edge("c", "a", 1.0)], RUN)
    # Worked out: c has (1 - d) / 3 = 0.05; a = 0.05 + d (b + c); b = 0.05 + d a, with d = 0.85.
    a = (0.05 + 0.85 * (0.05 + 0.05)) / (1 - 0.85**2)
    expected = {"a": 3 * a, "b": 3 * (0.05 + 0.85 * a), "c": 0.15}
    assert {feature.product_id: feature.centrality for feature in found} == pytest.approx(expected, rel=1e-6)


def test_who_is_followed_has_influence() -> None:
    """Prevents: influence that only counts purchases: the follower here has as many."""
    touches = [
        *touch("leader", "abc", 0),
        *touch("first", "ab", 1),
        *touch("second", "bc", 2),
        *touch("apart", "xyz", 0),
    ]
    found = {feature.user_id: feature.influence for feature in describe_users(touches, {}, RUN)}
    assert found["leader"] > found["first"] > found["second"] == pytest.approx(found["apart"])
    assert sum(found.values()) == pytest.approx(len(found))


def test_people_of_one_moment_do_not_follow_each_other() -> None:
    """Prevents: an influence by the order of names."""
    found = describe_users([*touch("a", "p", 0), *touch("b", "p", 0)], {}, RUN)
    assert [feature.influence for feature in found] == pytest.approx([1, 1])


def test_a_preference_is_the_cluster_of_most_products() -> None:
    """Prevents: a preference that an unknown product or a single one decides."""
    clusters = {"a": "hub", "b": "hub"}
    (found,) = describe_users(touch("u", "abn", 0), clusters, RUN)
    assert (found.cluster, found.cluster_share, found.cluster_count) == ("hub", pytest.approx(2 / 3), 2)


def test_an_empty_graph_has_no_features() -> None:
    """Prevents: a first night that fails."""
    assert describe_products([], RUN) == []
    assert describe_users([Touch("u")], {}, RUN) == []
