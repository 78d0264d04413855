// Events of a batch with their people, sessions and edges to products that merge_products has merged. eventId is the
// client's own; two sources may use one id for different events, so the key says whose it is.
UNWIND $events AS row
MERGE (user:User {userId: row.userId})
MERGE (session:Session {sessionId: row.sessionId})
ON CREATE SET session.startTime = row.at
ON MATCH SET session.startTime = CASE WHEN row.at < session.startTime THEN row.at ELSE session.startTime END
MERGE (user)-[:STARTED]->(session)
MERGE (event:Event {key: row.key})
ON CREATE SET event.eventId = row.eventId, event.type = row.type, event.at = row.at
MERGE (session)-[:CONTAINS]->(event)
FOREACH (id IN row.productIds |
  MERGE (product:Product {productId: id})
  MERGE (event)-[:ON]->(product)
)
