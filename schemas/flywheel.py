"""Rows that go round between the warehouse and the graph: relations found in the one, features found in the other.

Owns their columns; docs/flywheel.md says who makes and who uses them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from schemas.rows import Id, Row


class ProductRelation(Row, frozen=True, kw_only=True):
    """Two products that go together beyond chance (table product_relations), as the job find_relations found last."""

    kind: Annotated[
        str, Meta(description="bought_with (one order), viewed_with (one visit) or then (one after the other)")
    ]
    product_id: Annotated[Id, Meta(description="From which product")]
    related_id: Annotated[Id, Meta(description="To which; for then the later one")]
    support: Annotated[int, Meta(ge=1, description="Orders, visits or steps of a person with both")]
    people: Annotated[int, Meta(ge=1, description="Different people behind them")]
    llr: Annotated[float, Meta(description="Log-likelihood ratio (Dunning 1993) of the decayed counts")]
    score: Annotated[
        float, Meta(description="Strength, 0 to 1: cosine of the decayed counts, shrunk for small support")
    ]
    version: Annotated[str, Meta(description="The run that found it")]
    found_at: Annotated[datetime, Meta(tz=True, description="When that run began")]


class ProductFeature(Row, frozen=True, kw_only=True):
    """What the graph knows of a product (table product_features), written by the job graph_features."""

    product_id: Annotated[Id, Meta(description="The product")]
    cluster: Annotated[Id, Meta(description="Its community by relations, named by the most central product in it")]
    cluster_size: Annotated[int, Meta(ge=1, description="Products of that community")]
    centrality: Annotated[float, Meta(description="PageRank over relations, 1 being the mean of all products")]
    version: Annotated[str, Meta(description="One run")]
    computed_at: Annotated[datetime, Meta(tz=True, description="When the run began")]


class UserFeature(Row, frozen=True, kw_only=True):
    """What the graph knows of a person (table user_features), written by the job graph_features."""

    user_id: Annotated[Id, Meta(description="The person")]
    influence: Annotated[
        float, Meta(description="PageRank over who came to a product after whom, 1 being the mean of all people")
    ]
    cluster: Annotated[Id, Meta(description="Community of products that the person prefers")]
    cluster_share: Annotated[float, Meta(description="Share of the person's products that are in it, 0 to 1")]
    cluster_count: Annotated[int, Meta(ge=1, description="Communities that the person's products are in")]
    version: Annotated[str, Meta(description="One run")]
    computed_at: Annotated[datetime, Meta(tz=True, description="When the run began")]
