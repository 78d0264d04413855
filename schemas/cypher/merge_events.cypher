// Events of a batch with their people, sessions and edges to products that merge_products has merged. eventId names the
// event's source too: two sources may use one id for different events.
UNWIND $events AS row
MERGE (user:User {userId: row.userId})
MERGE (session:Session {sessionId: row.sessionId})
ON CREATE SET session.startTime = row.at
ON MATCH SET session.startTime = CASE WHEN row.at < session.startTime THEN row.at ELSE session.startTime END
MERGE (user)-[:STARTED]->(session)
MERGE (event:Event {eventId: row.eventId})
ON CREATE SET event.type = row.type, event.at = row.at
MERGE (session)-[:CONTAINS]->(event)
FOREACH (id IN row.productIds |
  MERGE (product:Product {productId: id})
  MERGE (event)-[:ON]->(product)
)
