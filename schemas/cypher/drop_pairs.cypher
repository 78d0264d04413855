// Pairs of earlier versions: they no longer go together. Some at a time, so that a transaction stays small.
MATCH (:Product)-[pair:GOES_WITH]->(:Product)
WHERE pair.version <> $version
WITH pair
LIMIT $limit
DELETE pair
RETURN count(*) AS dropped
