// Visits of a person ($ids: everything that they are known by) that nobody else started too.
MATCH (user:User)-[:STARTED]->(session:Session)
WHERE user.userId IN $ids
WITH DISTINCT session
MATCH (starter:User)-[:STARTED]->(session)
WITH session, sum(CASE WHEN starter.userId IN $ids THEN 0 ELSE 1 END) AS others
WHERE others = 0
RETURN session.sessionId AS id
