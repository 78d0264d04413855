-- Products by how many people ordered, added or viewed them in the 90 days up to the latest such event; the answer for
-- a person of whom nothing is known.
-- @column product_id: Id in the shop
-- @column people: People who ordered, added or viewed it
-- @column buyers: People who ordered it
WITH touched AS (
  SELECT interactions.person_id, interactions.event_type, interactions.event_timestamp, product.product_id
  FROM argo.interactions AS interactions, UNNEST(interactions.products) AS product
  WHERE interactions.event_type IN ('order_completed', 'product_added', 'product_viewed')
)
SELECT
  product_id,
  COUNT(DISTINCT person_id) AS people,
  COUNT(DISTINCT IF(event_type = 'order_completed', person_id, NULL)) AS buyers
FROM touched
WHERE event_timestamp > TIMESTAMP_SUB((SELECT MAX(event_timestamp) FROM touched), INTERVAL 90 DAY)
GROUP BY product_id
