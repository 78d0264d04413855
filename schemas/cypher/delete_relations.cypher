// Relations of one kind (RELATION stands for it) that the latest run did not find again, a batch of them.
MATCH (:Product)-[relation:RELATION]->(:Product)
WHERE relation.version <> $version
WITH relation
LIMIT $limit
DELETE relation
RETURN count(*) AS removed
