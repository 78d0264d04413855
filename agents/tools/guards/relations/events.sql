-- What the person did, before they were known as well (person_id, as the view interactions has it), one row an event; emails
-- that the shop sent are here too (event_type email_...).
SELECT event_id, event_type, event_timestamp, session_id, order_id, revenue, currency, page.path AS page_path, products
FROM argo.user_interactions
WHERE
  (
    COALESCE(user_id, anonymous_id) = @user_id
    OR COALESCE(user_id, anonymous_id) IN (SELECT id FROM argo.identities WHERE person_id = @user_id)
  )
  AND event_timestamp >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 730 DAY)
QUALIFY ROW_NUMBER() OVER (PARTITION BY source, producer, event_id ORDER BY received_at) = 1
