-- What was recommended per day and channel, and what came of it: products shown to a person (those of one answer, the chosen
-- one among them), and of these how many the same person ordered within 7 days.
-- @column day: Day of the answers, in UTC; the last 7 days may still grow
-- @column channel: http or swarm
-- @column answers: Answers, each once
-- @column by_model: Of these, with a model's choice and reason
-- @column degraded: Of these, made while a source did not answer
-- @column shown: Products shown in them
-- @column shown_accepted: Of these, ordered by the person within 7 days
-- @column chosen_accepted: Answers whose chosen product was ordered by the person within 7 days
-- @column acceptance: shown_accepted / shown
WITH served AS (
  SELECT
    recommendation_id,
    user_id,
    channel,
    product_id AS chosen_id,
    served_at,
    chosen_by <> 'template' AS is_by_model,
    ARRAY_LENGTH(JSON_VALUE_ARRAY(evidence, '$.degraded')) > 0 AS is_degraded,
    JSON_VALUE_ARRAY(evidence, '$.shown') AS shown_ids
  FROM argo.recommendations
  QUALIFY ROW_NUMBER() OVER (PARTITION BY recommendation_id ORDER BY served_at) = 1
),
shown AS (
  SELECT served.recommendation_id, served.user_id, served.served_at, product_id, product_id = served.chosen_id AS is_chosen
  FROM served, UNNEST(served.shown_ids) AS product_id
),
bought AS (
  SELECT interactions.person_id AS person_id, item.product_id AS product_id, interactions.event_timestamp AS ordered_at
  FROM argo.interactions AS interactions, UNNEST(interactions.products) AS item
  WHERE interactions.event_type = 'order_completed'
),
accepted AS (
  SELECT DISTINCT shown.recommendation_id, shown.product_id, shown.is_chosen
  FROM shown
  JOIN bought
    ON bought.person_id = shown.user_id
    AND bought.product_id = shown.product_id
    AND bought.ordered_at >= shown.served_at
    AND bought.ordered_at < TIMESTAMP_ADD(shown.served_at, INTERVAL 7 DAY)
),
outcomes AS (
  SELECT recommendation_id, COUNT(*) AS shown_accepted, COUNTIF(is_chosen) AS chosen_accepted
  FROM accepted
  GROUP BY recommendation_id
),
counts AS (
  SELECT
    DATE(served.served_at) AS day,
    served.channel AS channel,
    COUNT(*) AS answers,
    COUNTIF(served.is_by_model) AS by_model,
    COUNTIF(served.is_degraded) AS degraded,
    SUM(COALESCE(ARRAY_LENGTH(served.shown_ids), 0)) AS shown,
    SUM(COALESCE(outcomes.shown_accepted, 0)) AS shown_accepted,
    SUM(COALESCE(outcomes.chosen_accepted, 0)) AS chosen_accepted
  FROM served
  LEFT JOIN outcomes ON outcomes.recommendation_id = served.recommendation_id
  GROUP BY DATE(served.served_at), served.channel
)
SELECT
  day, channel, answers, by_model, degraded, shown, shown_accepted, chosen_accepted,
  SAFE_DIVIDE(shown_accepted, shown) AS acceptance
FROM counts
