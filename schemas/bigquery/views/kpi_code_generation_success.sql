-- Share of the requests to CodeGenerationAgent that it completed by itself, per day of the request; one still without an
-- answer counts against it. Target: 0.80. No row for a day without such requests.
-- @column day: Day of the requests, in UTC
-- @column numerator: Requests that the agent answered with COMPLETED
-- @column denominator: Requests to the agent
-- @column value: Success, 0 to 1: numerator / denominator
-- @column target: What value should reach
WITH requests AS (
  SELECT taskId AS step_id, DATE(timestamp) AS day
  FROM argo.agent_messages
  WHERE kind = 'request' AND targetAgent = 'CodeGenerationAgent'
),
answers AS (
  SELECT taskId AS step_id, LOGICAL_OR(status = 'COMPLETED') AS is_completed
  FROM argo.agent_messages
  WHERE kind = 'response' AND sourceAgent = 'CodeGenerationAgent'
  GROUP BY taskId
),
counts AS (
  SELECT requests.day AS day, COUNTIF(answers.is_completed) AS numerator, COUNT(*) AS denominator
  FROM requests
  LEFT JOIN answers ON answers.step_id = requests.step_id
  GROUP BY requests.day
)
SELECT day, numerator, denominator, SAFE_DIVIDE(numerator, denominator) AS value, 0.80 AS target
FROM counts
