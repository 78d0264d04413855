// Where do a person's latest products lead? Over the relations that are significant (merge_relations), from $recent, each with
// its weight per kind: the kind's own, times its decay for every product touched since. The formula is the contract in
// agents/recommender/training/walks.py; tests/emulator/test_paths.py holds both to the same scores. Bounded by construction:
// 10 products with at most 50 relations of three kinds each, whatever the graph's size.
UNWIND $recent AS start
MATCH (recent:Product {productId: start.productId})
MATCH (recent)-[relation:BOUGHT_WITH|VIEWED_WITH|THEN]->(candidate:Product)
WHERE NOT candidate.productId IN $recentIds
WITH
  recent, candidate, relation.support AS support, type(relation) AS kind,
  relation.score * start.weights[type(relation)] AS strength
WHERE strength > 0
WITH recent, candidate, support, kind, strength
ORDER BY strength DESC, recent.productId, kind
WITH
  candidate,
  sum(strength) AS score,
  sum(CASE kind WHEN 'BOUGHT_WITH' THEN strength ELSE 0.0 END) AS boughtWith,
  sum(CASE kind WHEN 'VIEWED_WITH' THEN strength ELSE 0.0 END) AS viewedWith,
  sum(CASE kind WHEN 'THEN' THEN strength ELSE 0.0 END) AS next,
  collect({
    fromId: recent.productId, fromName: coalesce(recent.name, recent.productId), kind: kind, count: support
  })[..3] AS links
ORDER BY score DESC, candidate.productId
LIMIT $limit
RETURN
  candidate.productId AS productId,
  coalesce(candidate.name, candidate.productId) AS name,
  score, links,
  {BOUGHT_WITH: boughtWith, VIEWED_WITH: viewedWith, `THEN`: next} AS parts
