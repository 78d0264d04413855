-- What happened on each day in each source: the first thing to look at when a number looks odd.
-- @column day: Day, in UTC
-- @column events: Events, each once
-- @column people: People who did something
-- @column new_people: Of these, those who never did anything in any source before
-- @column orders: Orders, each once, cancelled ones included
-- @column late_events: Events that arrived more than an hour after they happened (offline devices, imports)
WITH acts AS (
  SELECT DATE(event_timestamp) AS day, source, person_id, event_timestamp, received_at
  FROM argo.interactions
  WHERE is_own
),
first_days AS (
  SELECT person_id, MIN(day) AS day FROM acts WHERE person_id IS NOT NULL GROUP BY person_id
),
counts AS (
  SELECT
    acts.day AS day,
    acts.source AS source,
    COUNT(*) AS events,
    COUNT(DISTINCT acts.person_id) AS people,
    COUNT(DISTINCT IF(first_days.day = acts.day, acts.person_id, NULL)) AS new_people,
    COUNTIF(TIMESTAMP_DIFF(acts.received_at, acts.event_timestamp, SECOND) > 3600) AS late_events
  FROM acts
  LEFT JOIN first_days ON first_days.person_id = acts.person_id
  GROUP BY acts.day, acts.source
),
sold AS (
  SELECT day, source, COUNT(*) AS orders FROM argo.orders GROUP BY day, source
)
SELECT
  counts.day,
  counts.source,
  counts.events,
  counts.people,
  counts.new_people,
  COALESCE(sold.orders, 0) AS orders,
  counts.late_events
FROM counts
LEFT JOIN sold ON sold.day = counts.day AND sold.source = counts.source
