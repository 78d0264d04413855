-- Client events, each once: the earliest arrival of every event_id of a source and producer, because two of them may use
-- one id for different events. Filter by event_timestamp: of the wide columns only that time's partitions are read then
-- (docs/decisions/2026-11-20-each-event-once.md).
-- @column person_id: The person behind the event, as far as is known today: whom its user_id was replaced by (alias), else
-- its user_id, else whom its anonymous_id turned out to be (identify, alias), else its anonymous_id.
-- @column is_own: Whether the person did it themselves; false for what was done to them (email_sent and the like)

-- A client's retry may be corrected to another event_timestamp than its first try. Such events are few, and found by narrow
-- columns alone; all other copies of an event share its time.
WITH retimed AS (
  SELECT
    source,
    COALESCE(producer, '') AS producer,
    event_id,
    ARRAY_AGG(event_timestamp ORDER BY received_at, event_timestamp LIMIT 1)[OFFSET(0)] AS first_timestamp
  FROM argo.user_interactions
  GROUP BY source, COALESCE(producer, ''), event_id
  HAVING MIN(event_timestamp) <> MAX(event_timestamp)
)
-- Columns are listed one by one because bqemulator loses repeated ones behind a star; a test holds the list to the table.
SELECT
  events.event_id,
  events.event_type,
  events.event_timestamp,
  events.received_at,
  events.source,
  events.producer,
  events.event_name,
  events.client_timestamp,
  events.sent_at,
  events.user_id,
  events.anonymous_id,
  events.previous_id,
  events.group_id,
  events.session_id,
  events.order_id,
  events.revenue,
  events.currency,
  events.page,
  events.app,
  events.device,
  events.location,
  events.weather,
  events.campaign,
  events.consent,
  events.products,
  events.traits,
  events.properties,
  events.library,
  COALESCE(identities.person_id, events.user_id, events.anonymous_id) AS person_id,
  events.event_type NOT IN (
    'email_sent', 'email_skipped', 'email_failed', 'email_waiting', 'email_delivered', 'email_bounced',
    'webhook_sent', 'webhook_skipped', 'webhook_failed', 'webhook_waiting'
  ) AS is_own
FROM argo.user_interactions AS events
LEFT JOIN retimed
  ON retimed.event_id = events.event_id
  AND retimed.source = events.source
  AND retimed.producer = COALESCE(events.producer, '')
LEFT JOIN argo.identities AS identities ON identities.id = COALESCE(events.user_id, events.anonymous_id)
WHERE retimed.event_id IS NULL OR retimed.first_timestamp = events.event_timestamp
-- event_timestamp is in the window only so that a filter by it passes through.
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY events.event_timestamp, events.source, events.producer, events.event_id ORDER BY events.received_at
) = 1
