-- One row per task of the swarm: which moment and playbook it is for, when it began and ended, and how. The orchestrator
-- closes a task with the event task_completed or task_failed under the task's own id.
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
