-- Mean and 95th percentile of the seconds that a completed task took, per day of its end. Target: under 300.
-- @column day: Day of the tasks' end, in UTC
-- @column numerator: Seconds that the completed tasks took, together
-- @column denominator: Completed tasks
-- @column value: Mean seconds of a task: numerator / denominator
-- @column p95_seconds: 95 of 100 tasks took no longer
-- @column target: What value should stay under
WITH counts AS (
  SELECT
    DATE(ended) AS day,
    SUM(seconds) AS numerator,
    COUNT(*) AS denominator,
    APPROX_QUANTILES(seconds, 100)[OFFSET(95)] AS p95_seconds
  FROM argo.tasks
  WHERE status = 'COMPLETED'
  GROUP BY DATE(ended)
)
SELECT day, numerator, denominator, SAFE_DIVIDE(numerator, denominator) AS value, p95_seconds, 300 AS target
FROM counts
