-- Refused events per day, source, type and failure, each once, with the latest reason in words: what to repair first.
-- @column day: Day of arrival, in UTC
-- @column event_type: Its type, as far as it could be read
-- @column events: Refused events
-- @column latest_reason: What to fix, as the latest of them says
-- @column latest_at: When that arrived
WITH refused AS (
  SELECT event_id, received_at, source, failure, reason, event_type
  FROM argo.invalid_events
  QUALIFY ROW_NUMBER() OVER (PARTITION BY source, event_id ORDER BY received_at) = 1
)
SELECT
  DATE(received_at) AS day,
  source,
  event_type,
  failure,
  COUNT(*) AS events,
  ARRAY_AGG(reason ORDER BY received_at DESC, event_id LIMIT 1)[OFFSET(0)] AS latest_reason,
  MAX(received_at) AS latest_at
FROM refused
GROUP BY day, source, event_type, failure
