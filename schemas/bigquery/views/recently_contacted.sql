-- People to whom an email went out in the last 7 days: moments that are not the person's own doing leave them alone.
SELECT DISTINCT person_id
FROM argo.interactions
WHERE event_type = 'email_sent' AND event_timestamp > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 7 DAY)
  AND person_id IS NOT NULL
