-- Visits, one row each. A client's own session_id is respected (it is unique only for its source and device, so these are
-- part of what makes a visit one); events without one form a visit as long as no more than 30 minutes pass between two of
-- the same person on the same device. What the suite itself told about a person (email_sent and the like) is no visit.
-- session_key is stable as long as the visit's first event is; duration is between the first and the last event.
-- @column session_key: One visit
-- @column started_at: Its first event
-- @column ended_at: Its last event
-- @column duration_seconds: Seconds between the two; 0 for a visit of one event
-- @column event_count: Events of the visit
-- @column page_count: Pages and screens seen, repeats included
-- @column order_count: Orders completed, each once
-- @column landing_path: Path of the first page that has one
-- @column campaign_source: utm_source of the first event that has one
WITH events AS (
  SELECT
    source,
    person_id,
    COALESCE(anonymous_id, person_id) AS device_key,
    session_id,
    event_id,
    event_type,
    event_timestamp,
    order_id,
    revenue,
    page.path AS page_path,
    campaign.source AS campaign_source
  FROM argo.interactions
  WHERE person_id IS NOT NULL AND is_own
),
gaps AS (
  SELECT
    *,
    IF(
      session_id IS NULL AND (
        LAG(event_timestamp) OVER visit IS NULL
        OR TIMESTAMP_DIFF(event_timestamp, LAG(event_timestamp) OVER visit, SECOND) > 1800
      ),
      1,
      0
    ) AS begins
  FROM events
  WINDOW visit AS (
    PARTITION BY source, device_key, person_id, session_id ORDER BY event_timestamp, event_id
  )
),
numbered AS (
  SELECT
    *,
    SUM(begins) OVER (
      PARTITION BY source, device_key, person_id, session_id ORDER BY event_timestamp, event_id
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS visit_number
  FROM gaps
),
visits AS (
  SELECT
    source,
    device_key,
    session_id,
    ANY_VALUE(person_id HAVING MAX event_timestamp) AS person_id,
    MIN(event_timestamp) AS started_at,
    MAX(event_timestamp) AS ended_at,
    COUNT(*) AS event_count,
    COUNTIF(event_type IN ('page', 'screen')) AS page_count,
    COUNT(DISTINCT IF(event_type = 'order_completed', COALESCE(order_id, event_id), NULL)) AS order_count,
    ANY_VALUE(page_path HAVING MIN IF(page_path IS NULL, NULL, event_timestamp)) AS landing_path,
    ANY_VALUE(campaign_source HAVING MIN IF(campaign_source IS NULL, NULL, event_timestamp)) AS campaign_source
  FROM numbered
  GROUP BY source, device_key, session_id, IF(session_id IS NULL, person_id, NULL), visit_number
)
SELECT
  TO_HEX(SHA256(CONCAT(
    source, '/', device_key, '/', COALESCE(session_id, CONCAT(person_id, '/', CAST(UNIX_MICROS(started_at) AS STRING)))
  ))) AS session_key,
  session_id,
  source,
  person_id,
  started_at,
  ended_at,
  TIMESTAMP_DIFF(ended_at, started_at, SECOND) AS duration_seconds,
  event_count,
  page_count,
  order_count,
  landing_path,
  campaign_source
FROM visits
