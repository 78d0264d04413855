// What lies around a person: the categories of their latest products, and what goes with these. Bounded: the latest events
// ($eventLimit), their products ($productLimit), $limit rows, strongest first. One row per product, category and neighbour.
MATCH (user:User {userId: $userId})-[:STARTED]->(:Session)-[:CONTAINS]->(event:Event)
WHERE NOT event.type IN $ignoredTypes
WITH event
ORDER BY event.at DESC
LIMIT $eventLimit
MATCH (event)-[:ON]->(recent:Product)
WITH recent, max(event.at) AS lastAt
ORDER BY lastAt DESC, recent.productId
LIMIT $productLimit
OPTIONAL MATCH (recent)-[:IN]->(category:Category)
OPTIONAL MATCH (recent)-[relation:BOUGHT_WITH|VIEWED_WITH|THEN]->(near:Product)
RETURN
  category.name AS category,
  recent.productId AS fromId,
  near.productId AS productId,
  coalesce(near.name, near.productId) AS name,
  type(relation) AS relation,
  coalesce(relation.score, 0) AS score
ORDER BY score DESC, fromId, productId
LIMIT $limit
