-- Moments per day and kind, and how far they came: found, answered, acted upon, delivered, followed by an order.
-- @column day: Day on which they were found, in UTC
-- @column found: Moments, each once
-- @column answered: Of these, those that a playbook answered with a task
-- @column completed: Of these, those with a completed task
-- @column acted: Moments that led to an approved action
-- @column sent: Moments whose email was sent
-- @column ordered: Of these, those followed by an order of the same person within 7 days
SELECT
  DATE(detected_at) AS day,
  kind,
  COUNT(DISTINCT moment_id) AS found,
  COUNT(DISTINCT IF(task_id IS NOT NULL, moment_id, NULL)) AS answered,
  COUNT(DISTINCT IF(task_status = 'COMPLETED', moment_id, NULL)) AS completed,
  COUNT(DISTINCT IF(action_id IS NOT NULL, moment_id, NULL)) AS acted,
  COUNT(DISTINCT IF(outcome = 'email_sent', moment_id, NULL)) AS sent,
  COUNT(DISTINCT IF(ordered_at IS NOT NULL, moment_id, NULL)) AS ordered
FROM argo.moment_outcomes
GROUP BY day, kind
