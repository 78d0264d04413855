// What a person touched last, newest first, and how; bounded by the latest events.
MATCH (user:User {userId: $userId})-[:STARTED]->(:Session)-[:CONTAINS]->(event:Event)
WHERE NOT event.type IN $ignoredTypes
WITH event
ORDER BY event.at DESC
LIMIT $limit
MATCH (event)-[:ON]->(product:Product)
WITH product, event
ORDER BY event.at DESC
WITH product, collect(event)[0] AS latest
RETURN product.productId AS productId, coalesce(product.name, product.productId) AS name, latest.type AS type
ORDER BY latest.at DESC, product.productId
LIMIT $limit
