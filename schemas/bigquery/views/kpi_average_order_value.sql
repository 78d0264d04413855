-- Average order value per day and currency: revenue of completed orders over their number. An order that several events
-- report counts once; one without revenue counts as its products' price times quantity.
-- @column day: Day of the orders, in UTC
-- @column numerator: Revenue of the orders, in currency
-- @column denominator: Orders whose revenue is known
-- @column value: Average order value: numerator / denominator
WITH orders AS (
  SELECT
    DATE(event_timestamp) AS day,
    currency,
    COALESCE(
      revenue,
      (SELECT SUM(product.price * COALESCE(product.quantity, 1)) FROM UNNEST(products) AS product)
    ) AS money
  FROM argo.interactions
  WHERE event_type = 'order_completed'
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY source, IF(order_id IS NULL, producer, NULL), COALESCE(order_id, event_id)
    ORDER BY event_timestamp, event_id
  ) = 1
),
counts AS (
  SELECT day, currency, SUM(money) AS numerator, COUNT(money) AS denominator
  FROM orders
  GROUP BY day, currency
)
SELECT day, currency, numerator, denominator, SAFE_DIVIDE(numerator, denominator) AS value
FROM counts
