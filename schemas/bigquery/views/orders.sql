-- Orders, one row each, as first reported by order_completed: several events may report the same order of a source. An
-- order without revenue is worth its products' prices times quantities. Cancelled and refunded orders are here too, and say so.
-- @column order_key: One order: its source and order_id; where that is missing, the event that reported it
-- @column ordered_at: When it was first reported as completed
-- @column day: Day of ordered_at, in UTC
-- @column money: Revenue, else the sum of price times quantity; in currency; null when neither is known
-- @column item_count: How many items, quantities added up
-- @column cancelled_at: When it was first reported as cancelled or refunded; null when it was not
WITH completed AS (
  SELECT
    CONCAT(source, '/', COALESCE(order_id, CONCAT(COALESCE(producer, ''), '/', event_id))) AS order_key,
    source,
    order_id,
    person_id,
    event_timestamp AS ordered_at,
    session_id,
    currency,
    revenue,
    products
  FROM argo.interactions
  WHERE event_type = 'order_completed'
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY source, IF(order_id IS NULL, producer, NULL), COALESCE(order_id, event_id)
    ORDER BY event_timestamp, event_id
  ) = 1
),
cancelled AS (
  SELECT source, order_id, MIN(event_timestamp) AS cancelled_at
  FROM argo.interactions
  WHERE event_type IN ('order_cancelled', 'order_refunded') AND order_id IS NOT NULL
  GROUP BY source, order_id
)
SELECT
  completed.order_key,
  completed.source,
  completed.order_id,
  completed.person_id,
  completed.ordered_at,
  DATE(completed.ordered_at) AS day,
  completed.session_id,
  completed.currency,
  COALESCE(
    completed.revenue,
    (SELECT SUM(product.price * COALESCE(product.quantity, 1)) FROM UNNEST(completed.products) AS product)
  ) AS money,
  (SELECT COALESCE(SUM(COALESCE(product.quantity, 1)), 0) FROM UNNEST(completed.products) AS product) AS item_count,
  completed.products,
  cancelled.cancelled_at
FROM completed
LEFT JOIN cancelled ON cancelled.source = completed.source AND cancelled.order_id = completed.order_id
