-- Share of tasks that were completed without a person's help, per day of their start; a task still running counts
-- against it. Target: 0.95.
-- @column day: Day of the tasks' start, in UTC
-- @column numerator: Tasks that were completed
-- @column denominator: Tasks that were started
-- @column value: Success, 0 to 1: numerator / denominator
-- @column target: What value should reach
WITH counts AS (
  SELECT DATE(started) AS day, COUNTIF(status = 'COMPLETED') AS numerator, COUNT(*) AS denominator
  FROM argo.tasks
  GROUP BY DATE(started)
)
SELECT day, numerator, denominator, SAFE_DIVIDE(numerator, denominator) AS value, 0.95 AS target
FROM counts
