-- Conversion per day: of the people who did something on the day, the share who completed an order on it.
-- @column day: Day, in UTC
-- @column numerator: People who completed an order on the day
-- @column denominator: People who did something on the day
-- @column value: Conversion, 0 to 1: numerator / denominator
WITH counts AS (
  SELECT
    DATE(event_timestamp) AS day,
    COUNT(DISTINCT IF(event_type = 'order_completed', person_id, NULL)) AS numerator,
    COUNT(DISTINCT person_id) AS denominator
  FROM argo.interactions
  WHERE is_own
  GROUP BY DATE(event_timestamp)
)
SELECT day, numerator, denominator, SAFE_DIVIDE(numerator, denominator) AS value
FROM counts
