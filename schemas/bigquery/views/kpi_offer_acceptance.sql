-- Acceptance of personalised offers per day: of the products recommended to a person on the day, the share that the
-- same person ordered within 7 days.
-- @column day: Day of the recommendation, in UTC; the last 7 days may still grow
-- @column numerator: Of these, ordered by the same person within 7 days
-- @column denominator: Products recommended to a person on the day, each once
-- @column value: Acceptance, 0 to 1: numerator / denominator
WITH offers AS (
  SELECT user_id, product_id, DATE(served_at) AS day, MIN(served_at) AS served_at
  FROM argo.recommendations
  GROUP BY user_id, product_id, DATE(served_at)
),
orders AS (
  SELECT person_id, event_timestamp AS ordered_at, products
  FROM argo.interactions
  WHERE event_type = 'order_completed'
),
bought AS (
  SELECT orders.person_id AS person_id, orders.ordered_at AS ordered_at, product.product_id AS product_id
  FROM orders, UNNEST(orders.products) AS product
),
outcomes AS (
  SELECT
    offers.day AS day,
    offers.user_id AS user_id,
    offers.product_id AS product_id,
    COUNT(bought.ordered_at) > 0 AS accepted
  FROM offers
  LEFT JOIN bought
    ON bought.person_id = offers.user_id
    AND bought.product_id = offers.product_id
    AND bought.ordered_at >= offers.served_at
    AND bought.ordered_at < TIMESTAMP_ADD(offers.served_at, INTERVAL 7 DAY)
  GROUP BY offers.day, offers.user_id, offers.product_id
),
counts AS (
  SELECT day, COUNTIF(accepted) AS numerator, COUNT(*) AS denominator
  FROM outcomes
  GROUP BY day
)
SELECT day, numerator, denominator, SAFE_DIVIDE(numerator, denominator) AS value
FROM counts
