-- People who did a lot (at least 20 events in the 28 days before the last 14) and whose days now hold less than three tenths of
-- what they held then. The 20 with the steepest fall among the busiest, who got no email in the last 7 days. A case is the
-- person and the week in which it was noticed: a fall that goes on is told once a week at most. Cases that were told already
-- are left out before the 20 are taken.
WITH activity AS (
  SELECT
    person_id,
    COUNTIF(event_timestamp > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 14 DAY)) AS recent_events,
    COUNTIF(event_timestamp <= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 14 DAY)) AS earlier_events,
    MAX(event_timestamp) AS last_event_at
  FROM argo.interactions
  WHERE
    person_id IS NOT NULL
    AND NOT STARTS_WITH(event_type, 'email_')
    AND NOT STARTS_WITH(event_type, 'support_ticket_')
    AND event_timestamp > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 42 DAY)
  GROUP BY person_id
),
known AS (
  SELECT DISTINCT JSON_VALUE(data, '$.case_id') AS case_id
  FROM argo.moments
  WHERE kind = 'engagement_drop'
),
fallen AS (
  SELECT
    activity.person_id AS user_id,
    CONCAT(activity.person_id, '/', CAST(DATE_TRUNC(CURRENT_DATE(), WEEK(MONDAY)) AS STRING)) AS case_id,
    activity.earlier_events AS earlier_events,
    activity.recent_events AS recent_events,
    activity.last_event_at AS last_event_at
  FROM activity
  LEFT JOIN argo.recently_contacted AS contacted ON contacted.person_id = activity.person_id
  WHERE
    contacted.person_id IS NULL
    AND activity.earlier_events >= 20
    AND activity.recent_events / 14 < 0.3 * activity.earlier_events / 28
)
SELECT fallen.user_id, fallen.case_id, fallen.earlier_events, fallen.recent_events, fallen.last_event_at
FROM fallen
LEFT JOIN known ON known.case_id = fallen.case_id
WHERE known.case_id IS NULL
ORDER BY fallen.earlier_events DESC, fallen.user_id
LIMIT 20
