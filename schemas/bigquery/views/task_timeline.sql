-- Everything on record about a task of the swarm, one row per fact, in the order of happened_at: the moment that it began
-- with, every word between its agents, its model calls, what was recommended, the approved action, and what became of it.
-- Filter by task_id.
-- @column task_id: One task
-- @column happened_at: When it happened
-- @column fact: moment, request, response, event, command, model_call, recommendation, action, or outcome (what act or the
-- person did)
-- @column fact_id: The fact's own id, once per task and fact: of the moment, step and action, model call, recommendation, action or event
-- @column step_id: The request (one attempt of a step) that a word between agents belongs to
-- @column actor: Who did it: an agent, the finder of the moment, the person, or the model's caller
-- @column target: To whom or about what: an agent, a model, a product, a person
-- @column what: What was done: the moment's kind, the agent's action, the prompt, the event's type
-- @column outcome: How it ended, where that can be said: COMPLETED, FAILED, ok, or who chose or approved
-- @column details: All of it, as JSON
WITH words AS (
  SELECT COALESCE(parentTaskId, taskId) AS task_id, parentTaskId, taskId, correlationId, sourceAgent, targetAgent,
    action, kind, status, payload, timestamp
  FROM argo.agent_messages
),
found AS (
  SELECT moment_id, kind, user_id, detected_at, data
  FROM argo.moments
  QUALIFY ROW_NUMBER() OVER (PARTITION BY moment_id ORDER BY detected_at) = 1
),
approved AS (
  SELECT action_id, task_id, kind, user_id, created_at, approved_by, content, product_id
  FROM argo.actions
  QUALIFY ROW_NUMBER() OVER (PARTITION BY action_id ORDER BY created_at) = 1
),
task_moments AS (
  SELECT task_id, MIN(correlationId) AS moment_id FROM words GROUP BY task_id
)
SELECT
  task_moments.task_id AS task_id,
  found.detected_at AS happened_at,
  'moment' AS fact,
  found.moment_id AS fact_id,
  CAST(NULL AS STRING) AS step_id,
  'detection' AS actor,
  found.user_id AS target,
  found.kind AS what,
  CAST(NULL AS STRING) AS outcome,
  found.data AS details
FROM task_moments
JOIN found ON found.moment_id = task_moments.moment_id
UNION ALL
SELECT task_id, timestamp, kind, CONCAT(taskId, ' ', kind, ' ', action), IF(parentTaskId IS NULL, NULL, taskId), sourceAgent,
  targetAgent, action, status, payload
FROM words
UNION ALL
SELECT task_id, called_at, 'model_call', call_id, CAST(NULL AS STRING), COALESCE(agent, caller), model, prompt, status,
  TO_JSON(STRUCT(input_tokens AS input_tokens, output_tokens AS output_tokens, latency_ms AS latency_ms))
FROM argo.llm_usage
WHERE task_id IS NOT NULL
QUALIFY ROW_NUMBER() OVER (PARTITION BY call_id ORDER BY called_at) = 1
UNION ALL
SELECT task_id, served_at, 'recommendation', recommendation_id, CAST(NULL AS STRING), 'RecommendationAgent', product_id,
  'recommended', chosen_by, TO_JSON(STRUCT(reason AS reason, evidence AS evidence))
FROM argo.recommendations
WHERE task_id IS NOT NULL
QUALIFY ROW_NUMBER() OVER (PARTITION BY recommendation_id ORDER BY served_at) = 1
UNION ALL
SELECT task_id, created_at, 'action', action_id, CAST(NULL AS STRING), approved_by, user_id, kind,
  CONCAT('approved by ', approved_by), content
FROM approved
UNION ALL
SELECT approved.task_id, events.event_timestamp, 'outcome', events.event_id, CAST(NULL AS STRING),
  IF(REGEXP_CONTAINS(events.event_type, r'^(email|webhook)_(sent|skipped|failed|waiting)$'), 'act', events.user_id),
  approved.user_id, events.event_type, JSON_VALUE(events.properties, '$.reason'), events.properties
-- The table and not the view interactions: of few rows here, each once is cheaper than of all.
FROM argo.user_interactions AS events
JOIN approved ON approved.action_id = JSON_VALUE(events.properties, '$.action_id')
QUALIFY ROW_NUMBER() OVER (PARTITION BY events.source, events.event_id ORDER BY events.received_at) = 1
