-- Average order value per day and currency: revenue of completed orders over their number. An order that several events
-- report counts once; one without revenue counts as its products' price times quantity. Later cancellations stay in.
-- @column day: Day of the orders, in UTC
-- @column numerator: Revenue of the orders, in currency
-- @column denominator: Orders whose revenue is known
-- @column value: Average order value: numerator / denominator
WITH counts AS (
  SELECT day, currency, SUM(money) AS numerator, COUNT(money) AS denominator
  FROM argo.orders
  GROUP BY day, currency
)
SELECT day, currency, numerator, denominator, SAFE_DIVIDE(numerator, denominator) AS value
FROM counts
