-- Net promoter score per day (-100 to 100): answers of 9 and 10 less answers of 0 to 6, over all answers. An answer is
-- an event nps_submitted whose properties have a score from 0 to 10.
-- @column day: Day of the answers, in UTC
-- @column numerator: Answers of 9 and 10 less answers of 0 to 6
-- @column denominator: Answers
-- @column value: Net promoter score, -100 to 100: 100 * numerator / denominator
WITH answers AS (
  SELECT DATE(event_timestamp) AS day, SAFE_CAST(JSON_VALUE(properties, '$.score') AS INT64) AS score
  FROM argo.interactions
  WHERE event_type = 'nps_submitted'
),
counts AS (
  SELECT day, COUNTIF(score >= 9) - COUNTIF(score <= 6) AS numerator, COUNT(*) AS denominator
  FROM answers
  WHERE score BETWEEN 0 AND 10
  GROUP BY day
)
SELECT day, numerator, denominator, 100 * SAFE_DIVIDE(numerator, denominator) AS value
FROM counts
