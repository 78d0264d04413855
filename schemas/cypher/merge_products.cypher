// Products of a batch, each once with what the batch's latest event says; a category only where one is known.
UNWIND $products AS row
MERGE (product:Product {productId: row.productId})
SET product.name = coalesce(row.name, product.name), product.price = coalesce(row.price, product.price)
FOREACH (name IN row.categories |
  MERGE (category:Category {name: name})
  MERGE (product)-[:IN]->(category)
)
