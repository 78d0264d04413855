// Visits ($ids) with their events.
MATCH (session:Session)
WHERE session.sessionId IN $ids
OPTIONAL MATCH (session)-[:CONTAINS]->(event:Event)
WITH collect(DISTINCT session) AS sessions, collect(DISTINCT event) AS events
WITH sessions, events, size(sessions) AS count
FOREACH (event IN events | DETACH DELETE event)
FOREACH (session IN sessions | DETACH DELETE session)
RETURN count
