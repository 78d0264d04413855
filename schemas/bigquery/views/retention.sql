-- Who comes back: people by the week of the first thing they did, and how many of them did something in each week since.
-- Weeks begin on Monday, in UTC. Only weeks in which anybody did anything have a row; there the cohorts of nobody have 0.
-- @column cohort_week: Monday of the week in which the cohort was first seen
-- @column week_number: Weeks since then; 0 is the first week itself
-- @column week: Monday of the week that is counted
-- @column cohort_size: People of the cohort
-- @column active: Of these, those who did something in the week
-- @column value: Retention, 0 to 1: active / cohort_size
-- @column is_complete: Whether the week is over; the current one may still grow

-- Mondays are counted from 1970-01-05, which was one: bqemulator takes WEEK(MONDAY) for weeks that begin on Sunday.
WITH weeks AS (
  SELECT DISTINCT
    person_id,
    DATE_SUB(
      DATE(event_timestamp), INTERVAL MOD(DATE_DIFF(DATE(event_timestamp), DATE '1970-01-05', DAY), 7) DAY
    ) AS week
  FROM argo.interactions
  WHERE person_id IS NOT NULL AND is_own
),
cohorts AS (
  SELECT person_id, MIN(week) AS cohort_week FROM weeks GROUP BY person_id
),
sizes AS (
  SELECT cohort_week, COUNT(*) AS cohort_size FROM cohorts GROUP BY cohort_week
),
calendar AS (
  SELECT DISTINCT week FROM weeks
),
activity AS (
  SELECT cohorts.cohort_week AS cohort_week, weeks.week AS week, COUNT(*) AS active
  FROM weeks
  JOIN cohorts ON cohorts.person_id = weeks.person_id
  GROUP BY cohorts.cohort_week, weeks.week
)
SELECT
  sizes.cohort_week,
  DIV(DATE_DIFF(calendar.week, sizes.cohort_week, DAY), 7) AS week_number,
  calendar.week,
  sizes.cohort_size,
  COALESCE(activity.active, 0) AS active,
  COALESCE(activity.active, 0) / sizes.cohort_size AS value,
  DATE_ADD(calendar.week, INTERVAL 7 DAY) <= CURRENT_DATE() AS is_complete
FROM sizes
JOIN calendar ON calendar.week >= sizes.cohort_week
LEFT JOIN activity ON activity.cohort_week = sizes.cohort_week AND activity.week = calendar.week
