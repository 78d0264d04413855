-- Client events, each once: the earliest arrival of every event_id of a source and producer, because two of them may use
-- one id for different events. person_id is the person behind the event: user_id, else the user that the latest identify or alias
-- tied to the event's anonymous_id, else the anonymous_id itself. An id that any event has as its user_id is tied to
-- nobody else: an event with somebody's id as its anonymous_id would take that person over.
-- Columns are listed one by one because bqemulator loses repeated ones behind a star; a test holds the list to the table.
WITH once AS (
  SELECT
    event_id,
    event_type,
    event_timestamp,
    received_at,
    source,
    producer,
    event_name,
    client_timestamp,
    sent_at,
    user_id,
    anonymous_id,
    previous_id,
    group_id,
    session_id,
    order_id,
    revenue,
    currency,
    page,
    app,
    device,
    location,
    weather,
    campaign,
    consent,
    products,
    traits,
    properties,
    library
  FROM argo.user_interactions
  QUALIFY ROW_NUMBER() OVER (PARTITION BY source, producer, event_id ORDER BY received_at, event_timestamp) = 1
),
people AS (
  SELECT DISTINCT user_id FROM once WHERE user_id IS NOT NULL
),
claims AS (
  SELECT anonymous_id AS from_id, user_id, event_timestamp, source, event_id
  FROM once
  WHERE event_type IN ('identify', 'alias') AND anonymous_id IS NOT NULL AND user_id IS NOT NULL
  UNION ALL
  SELECT previous_id AS from_id, user_id, event_timestamp, source, event_id
  FROM once
  WHERE event_type = 'alias' AND previous_id IS NOT NULL AND user_id IS NOT NULL
),
links AS (
  SELECT claims.from_id AS from_id, claims.user_id AS linked_user_id
  FROM claims
  LEFT JOIN people ON people.user_id = claims.from_id
  WHERE people.user_id IS NULL
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY claims.from_id ORDER BY claims.event_timestamp DESC, claims.source, claims.event_id DESC
  ) = 1
)
SELECT
  once.event_id,
  once.event_type,
  once.event_timestamp,
  once.received_at,
  once.source,
  once.producer,
  once.event_name,
  once.client_timestamp,
  once.sent_at,
  once.user_id,
  once.anonymous_id,
  once.previous_id,
  once.group_id,
  once.session_id,
  once.order_id,
  once.revenue,
  once.currency,
  once.page,
  once.app,
  once.device,
  once.location,
  once.weather,
  once.campaign,
  once.consent,
  once.products,
  once.traits,
  once.properties,
  once.library,
  COALESCE(once.user_id, links.linked_user_id, once.anonymous_id) AS person_id
FROM once
LEFT JOIN links ON links.from_id = once.anonymous_id
