-- What agents said to each other, each message once: the earliest delivery of every (taskId, kind, action). What has no
-- readable time is no message: one bad row must not fail every view that reads this one.
-- @column taskId: The step that it is about, or the task itself
-- @column parentTaskId: The task of a step
-- @column sourceAgent: Who says it
-- @column targetAgent: To whom
-- @column action: What is asked, answered or told
-- @column kind: request, response, event or command
-- @column correlationId: The moment that all of it is for
-- @column status: A response's outcome: COMPLETED or FAILED
-- @column payload: What is said, as JSON
-- @column timestamp: When it was said
WITH messages AS (
  SELECT
    JSON_VALUE(data, '$.taskId') AS taskId,
    JSON_VALUE(data, '$.parentTaskId') AS parentTaskId,
    JSON_VALUE(data, '$.sourceAgent') AS sourceAgent,
    JSON_VALUE(data, '$.targetAgent') AS targetAgent,
    JSON_VALUE(data, '$.action') AS action,
    JSON_VALUE(data, '$.kind') AS kind,
    JSON_VALUE(data, '$.correlationId') AS correlationId,
    JSON_VALUE(data, '$.payload.status') AS status,
    JSON_QUERY(data, '$.payload') AS payload,
    SAFE_CAST(JSON_VALUE(data, '$.timestamp') AS TIMESTAMP) AS timestamp,
    publish_time
  FROM argo.agent_bus
)
SELECT taskId, parentTaskId, sourceAgent, targetAgent, action, kind, correlationId, status, payload, timestamp
FROM messages
WHERE taskId IS NOT NULL AND timestamp IS NOT NULL
QUALIFY ROW_NUMBER() OVER (PARTITION BY taskId, kind, action ORDER BY publish_time, timestamp) = 1
