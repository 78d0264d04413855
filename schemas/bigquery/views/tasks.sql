-- One row per task of the swarm: which moment it is for, when its first and its closing message were sent, and how it
-- ended. The orchestrator closes a task with an event under the task's own id whose payload has the status.
WITH parts AS (
  SELECT
    COALESCE(parentTaskId, taskId) AS task_id,
    correlationId AS moment_id,
    timestamp,
    IF(
      parentTaskId IS NULL AND kind = 'event' AND sourceAgent = 'MasterOrchestratorAgent'
        AND status IN ('COMPLETED', 'FAILED'),
      status,
      NULL
    ) AS final_status
  FROM argo.agent_messages
),
ends AS (
  SELECT
    task_id,
    MIN(moment_id) AS moment_id,
    MIN(timestamp) AS started,
    MAX(IF(final_status IS NOT NULL, timestamp, NULL)) AS ended,
    -- A task that was closed twice counts as completed only when nobody called it failed.
    COALESCE(MAX(final_status), 'IN_PROGRESS') AS status
  FROM parts
  GROUP BY task_id
),
known_moments AS (
  SELECT moment_id, kind, user_id
  FROM argo.moments
  QUALIFY ROW_NUMBER() OVER (PARTITION BY moment_id ORDER BY detected_at) = 1
)
SELECT
  ends.task_id AS task_id,
  ends.moment_id AS moment_id,
  known_moments.kind AS moment,
  known_moments.user_id AS user_id,
  ends.started AS started,
  ends.ended AS ended,
  ends.status AS status,
  TIMESTAMP_DIFF(ends.ended, ends.started, MILLISECOND) / 1000 AS seconds
FROM ends
LEFT JOIN known_moments ON known_moments.moment_id = ends.moment_id
