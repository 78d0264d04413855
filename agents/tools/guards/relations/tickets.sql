-- The person's support tickets, one row a change; subject and text are the person's own words.
SELECT
  event_id,
  event_timestamp,
  JSON_VALUE(properties, '$.ticket_id') AS ticket_id,
  JSON_VALUE(properties, '$.status') AS status,
  JSON_VALUE(properties, '$.subject') AS subject,
  JSON_VALUE(properties, '$.text') AS text,
  JSON_VALUE(properties, '$.satisfaction') AS satisfaction,
  JSON_VALUE(properties, '$.priority') AS priority
FROM argo.user_interactions
WHERE
  (
    COALESCE(user_id, anonymous_id) = @user_id
    OR COALESCE(user_id, anonymous_id) IN (SELECT id FROM argo.identities WHERE person_id = @user_id)
  )
  AND STARTS_WITH(event_type, 'support_ticket_')
  AND event_timestamp >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 730 DAY)
QUALIFY ROW_NUMBER() OVER (PARTITION BY source, producer, event_id ORDER BY received_at) = 1
