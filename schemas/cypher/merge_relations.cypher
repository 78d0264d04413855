// Relations of one kind (RELATION stands for it) between products that events or a relation before brought.
UNWIND $relations AS row
MERGE (from:Product {productId: row.fromId})
MERGE (to:Product {productId: row.toId})
MERGE (from)-[relation:RELATION]->(to)
SET relation.score = row.score, relation.support = row.support, relation.version = row.version
