-- What did yesterday's clients send that we have no column for? (Reads one day of the wide column properties.)
SELECT event_type, person_id, event_timestamp, properties
FROM argo.interactions
WHERE event_timestamp >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)
ORDER BY event_timestamp DESC
LIMIT 100
