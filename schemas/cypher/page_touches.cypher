// Who touched what and when first, for the next $limit people by their id. From a bounded set of people outwards.
MATCH (user:User)
WHERE user.userId > $after
WITH user
ORDER BY user.userId
LIMIT $limit
OPTIONAL MATCH (user)-[:STARTED]->(:Session)-[:CONTAINS]->(event:Event)-[:ON]->(product:Product)
WHERE NOT event.type IN $ignoredTypes
WITH user.userId AS userId, product.productId AS productId, min(event.at) AS firstAt
RETURN userId, productId, firstAt
ORDER BY userId, productId
