-- Share of tasks that were completed without a person's help, per day of their start; a task still running counts
-- against it. Target: 0.95.
WITH counts AS (
  SELECT DATE(started) AS day, COUNTIF(status = 'COMPLETED') AS numerator, COUNT(*) AS denominator
  FROM argo.tasks
  GROUP BY DATE(started)
)
SELECT day, numerator, denominator, SAFE_DIVIDE(numerator, denominator) AS value, 0.95 AS target
FROM counts
