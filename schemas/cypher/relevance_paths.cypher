// Where do a person's latest products lead? Over the pairs of products that go together (merge_pairs), from $recent, each
// with its weight: newer counts more. Bounded by construction: 10 products, each with its 20 strongest pairs, so at most 200
// edges of two levels, whatever the graph's size (walking over everybody's visits took 100 ms here; 2026-11-20).
UNWIND $recent AS start
MATCH (recent:Product {productId: start.productId})
MATCH (recent)-[pair:GOES_WITH]->(candidate:Product)
WHERE NOT candidate.productId IN $recentIds
WITH recent, candidate, pair, start.weight * pair.strength AS strength
ORDER BY strength DESC, recent.productId
WITH
  candidate,
  sum(strength) AS score,
  collect({
    fromId: recent.productId,
    fromName: coalesce(recent.name, recent.productId),
    together: pair.visits,
    orders: pair.orders
  })[..3] AS links
ORDER BY score DESC, candidate.productId
LIMIT 60
RETURN candidate.productId AS productId, coalesce(candidate.name, candidate.productId) AS name, links, score
