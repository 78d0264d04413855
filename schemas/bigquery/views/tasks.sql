-- One row per task of the swarm: which moment and playbook it is for, when it began and ended, and how. The orchestrator
-- closes a task with the event task_completed or task_failed under the task's own id.
-- @column task_id: One task
-- @column moment_id: The moment that it is for
-- @column moment: The moment's kind
-- @column user_id: The person whom it is for
-- @column playbook: The playbook that says what to do
-- @column started: When the orchestrator took the moment
-- @column ended: When it was closed; null while it runs
-- @column status: COMPLETED, FAILED or IN_PROGRESS
-- @column seconds: From start to end; null while it runs
WITH parts AS (
  SELECT
    COALESCE(parentTaskId, taskId) AS task_id,
    correlationId AS moment_id,
    JSON_VALUE(payload, '$.moment.kind') AS moment,
    JSON_VALUE(payload, '$.userId') AS user_id,
    JSON_VALUE(payload, '$.playbook') AS playbook,
    LEAST(timestamp, COALESCE(SAFE_CAST(JSON_VALUE(payload, '$.startedAt') AS TIMESTAMP), timestamp)) AS since,
    timestamp AS said_at,
    CASE
      WHEN parentTaskId IS NULL AND kind = 'event' AND action = 'task_completed' THEN 'COMPLETED'
      WHEN parentTaskId IS NULL AND kind = 'event' AND action = 'task_failed' THEN 'FAILED'
    END AS final_status
  FROM argo.agent_messages
)
SELECT
  task_id,
  MIN(moment_id) AS moment_id,
  MIN(moment) AS moment,
  MIN(user_id) AS user_id,
  MIN(playbook) AS playbook,
  MIN(since) AS started,
  MAX(IF(final_status IS NOT NULL, said_at, NULL)) AS ended,
  COALESCE(MAX(final_status), 'IN_PROGRESS') AS status,
  TIMESTAMP_DIFF(MAX(IF(final_status IS NOT NULL, said_at, NULL)), MIN(since), MILLISECOND) / 1000 AS seconds
FROM parts
GROUP BY task_id
