// Who turned out to be whom: what an anonymous person (fromId) did belongs to the known one (userId).
UNWIND $links AS link
MATCH (old:User {userId: link.fromId})
MERGE (user:User {userId: link.userId})
WITH old, user
OPTIONAL MATCH (old)-[:STARTED]->(session:Session)
FOREACH (found IN CASE WHEN session IS NULL THEN [] ELSE [session] END | MERGE (user)-[:STARTED]->(found))
WITH DISTINCT old
DETACH DELETE old
