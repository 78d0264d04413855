// What a person touched last, newest first; bounded by the latest events.
MATCH (user:User {userId: $userId})-[:STARTED]->(:Session)-[:CONTAINS]->(event:Event)
WHERE NOT event.type IN $ignoredTypes
WITH event
ORDER BY event.at DESC
LIMIT $limit
MATCH (event)-[:ON]->(product:Product)
WITH product, max(event.at) AS lastAt
ORDER BY lastAt DESC, product.productId
LIMIT $limit
RETURN product.productId AS productId, coalesce(product.name, product.productId) AS name
