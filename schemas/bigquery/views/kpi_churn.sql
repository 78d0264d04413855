-- Churn per day: of the people who ordered 31 to 60 days before the day, the share who have not ordered in the 30 days
-- up to it. No row for a day without such people.
-- @column day: Day, in UTC, with any event
-- @column numerator: People of the cohort without an order in the 30 days up to the day
-- @column denominator: The cohort: people who ordered 31 to 60 days before the day
-- @column value: Churn, 0 to 1: numerator / denominator
WITH orders AS (
  SELECT DISTINCT DATE(event_timestamp) AS day, person_id
  FROM argo.interactions
  WHERE event_type = 'order_completed' AND person_id IS NOT NULL
),
days AS (
  SELECT DISTINCT DATE(event_timestamp) AS day FROM argo.interactions
),
cohort AS (
  SELECT
    days.day AS day,
    orders.person_id AS person_id,
    MAX(orders.day) >= DATE_SUB(days.day, INTERVAL 30 DAY) AS stayed
  FROM days
  JOIN orders ON orders.day BETWEEN DATE_SUB(days.day, INTERVAL 60 DAY) AND days.day
  GROUP BY days.day, orders.person_id
  HAVING MIN(orders.day) < DATE_SUB(days.day, INTERVAL 30 DAY)
),
counts AS (
  SELECT day, COUNTIF(NOT stayed) AS numerator, COUNT(*) AS denominator
  FROM cohort
  GROUP BY day
)
SELECT day, numerator, denominator, SAFE_DIVIDE(numerator, denominator) AS value
FROM counts
