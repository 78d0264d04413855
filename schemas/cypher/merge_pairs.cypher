// Products that go together, by the warehouse (schemas/bigquery/models/product_pairs.sql). Of products that the graph has.
UNWIND $pairs AS row
MATCH (start:Product {productId: row.fromId})
MATCH (other:Product {productId: row.productId})
MERGE (start)-[pair:GOES_WITH]->(other)
SET pair.visits = row.visits, pair.orders = row.orders, pair.strength = row.strength, pair.version = $version
