// Relations from the next $limit products by their id; a product without any has one row.
MATCH (product:Product)
WHERE product.productId > $after
WITH product
ORDER BY product.productId
LIMIT $limit
OPTIONAL MATCH (product)-[relation:BOUGHT_WITH|VIEWED_WITH|THEN]->(related:Product)
RETURN product.productId AS productId, related.productId AS relatedId, relation.score AS score
