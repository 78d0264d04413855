// Events by their keys ($ids).
MATCH (event:Event)
WHERE event.key IN $ids
WITH collect(event) AS events
WITH events, size(events) AS count
FOREACH (event IN events | DETACH DELETE event)
RETURN count
