-- Engagement rate per day: of the people seen in the 28 days up to the day, the share who did something on it. What the
-- suite itself does to people (email_sent and the like) is no engagement of theirs.
-- @column day: Day, in UTC
-- @column numerator: People who did something on the day
-- @column denominator: People who did something in the 28 days up to the day
-- @column value: Engagement rate, 0 to 1: numerator / denominator
WITH person_days AS (
  SELECT DISTINCT DATE(event_timestamp) AS day, person_id
  FROM argo.interactions
  WHERE person_id IS NOT NULL AND is_own
),
days AS (
  SELECT DISTINCT day FROM person_days
),
counts AS (
  SELECT
    days.day AS day,
    COUNT(DISTINCT IF(person_days.day = days.day, person_days.person_id, NULL)) AS numerator,
    COUNT(DISTINCT person_days.person_id) AS denominator
  FROM days
  JOIN person_days ON person_days.day BETWEEN DATE_SUB(days.day, INTERVAL 27 DAY) AND days.day
  GROUP BY days.day
)
SELECT day, numerator, denominator, SAFE_DIVIDE(numerator, denominator) AS value
FROM counts
