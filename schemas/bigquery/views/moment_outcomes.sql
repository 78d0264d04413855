-- Every moment that was found, once, and what became of it: the task that answered it, the action that it led to, whether
-- that reached the person, and whether the person ordered within 7 days after. One row for each moment and task.
-- @column moment_id: One moment: the same case is the same moment
-- @column kind: The moment's name: a file in schemas/bigquery/moments or an event type
-- @column user_id: The person whom it is about
-- @column task_id: The task that answers it; null when no playbook does
-- @column task_status: COMPLETED, FAILED or IN_PROGRESS
-- @column seconds: How long the task took
-- @column action_id: The approved action; null when the task led to none
-- @column product_id: The product that the action is about
-- @column outcome: What became of the action: email_sent, email_skipped, email_failed; null while nothing is known
-- @column outcome_reason: Why it was skipped or failed
-- @column outcome_at: When that was
-- @column ordered_at: First order of the person within 7 days after the email was sent
WITH found AS (
  SELECT moment_id, kind, user_id, detected_at
  FROM argo.moments
  QUALIFY ROW_NUMBER() OVER (PARTITION BY moment_id ORDER BY detected_at) = 1
),
approved AS (
  SELECT action_id, task_id, product_id
  FROM argo.actions
  QUALIFY ROW_NUMBER() OVER (PARTITION BY action_id ORDER BY created_at) = 1
),
outcomes AS (
  SELECT
    JSON_VALUE(properties, '$.action_id') AS action_id,
    event_type,
    JSON_VALUE(properties, '$.reason') AS reason,
    person_id,
    event_timestamp
  FROM argo.interactions
  WHERE event_type IN ('email_sent', 'email_skipped', 'email_failed')
  QUALIFY ROW_NUMBER() OVER (PARTITION BY JSON_VALUE(properties, '$.action_id') ORDER BY event_timestamp) = 1
),
bought AS (
  SELECT outcomes.action_id AS action_id, MIN(orders.ordered_at) AS ordered_at
  FROM outcomes
  JOIN argo.orders AS orders
    ON orders.person_id = outcomes.person_id
    AND orders.ordered_at >= outcomes.event_timestamp
    AND orders.ordered_at < TIMESTAMP_ADD(outcomes.event_timestamp, INTERVAL 7 DAY)
  WHERE outcomes.event_type = 'email_sent'
  GROUP BY outcomes.action_id
)
SELECT
  found.moment_id,
  found.kind,
  found.user_id,
  found.detected_at,
  tasks.task_id,
  tasks.playbook,
  tasks.status AS task_status,
  tasks.seconds,
  approved.action_id,
  approved.product_id,
  outcomes.event_type AS outcome,
  outcomes.reason AS outcome_reason,
  outcomes.event_timestamp AS outcome_at,
  bought.ordered_at
FROM found
LEFT JOIN argo.tasks AS tasks ON tasks.moment_id = found.moment_id
LEFT JOIN approved ON approved.task_id = tasks.task_id
LEFT JOIN outcomes ON outcomes.action_id = approved.action_id
LEFT JOIN bought ON bought.action_id = approved.action_id
