-- A season that matters to somebody begins: the market says so about a category (a signal of kind season, observed in the last
-- 7 days), and the person ordered from it on at least two days in the last 400, but not in the last 30. One category a
-- person, the one they ordered from most often; the 20 with the most such days who got no email in the last 7 days. Who
-- was told of a category within 120 days is left out before the 20 are taken: a season is told once, however often its
-- signal comes.
WITH seasons AS (
  SELECT category, MAX(observed_at) AS observed_at
  FROM argo.market_signals
  WHERE
    kind = 'season'
    AND category IS NOT NULL
    AND observed_at <= CURRENT_TIMESTAMP()
    AND observed_at > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 7 DAY)
  GROUP BY category
),
ordered AS (
  SELECT
    interactions.person_id AS person_id,
    COALESCE(catalog.category, product.category) AS category,
    product.product_id AS product_id,
    interactions.event_timestamp AS ordered_at
  FROM argo.interactions AS interactions, UNNEST(interactions.products) AS product
  LEFT JOIN argo.product_catalog AS catalog ON catalog.product_id = product.product_id
  WHERE
    interactions.event_type = 'order_completed'
    AND interactions.person_id IS NOT NULL
    AND interactions.event_timestamp > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 400 DAY)
),
habits AS (
  SELECT
    ordered.person_id AS person_id,
    ordered.category AS category,
    seasons.observed_at AS observed_at,
    COUNT(DISTINCT DATE(ordered.ordered_at)) AS order_days,
    MAX(ordered.ordered_at) AS last_order_at,
    ARRAY_AGG(ordered.product_id ORDER BY ordered.ordered_at DESC, ordered.product_id LIMIT 1)[OFFSET(0)] AS product_id
  FROM ordered
  JOIN seasons ON seasons.category = ordered.category
  GROUP BY ordered.person_id, ordered.category, seasons.observed_at
  HAVING
    COUNT(DISTINCT DATE(ordered.ordered_at)) >= 2
    AND MAX(ordered.ordered_at) <= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 30 DAY)
),
told AS (
  SELECT DISTINCT user_id, JSON_VALUE(data, '$.category') AS category
  FROM argo.moments
  WHERE kind = 'season_start' AND detected_at > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 120 DAY)
),
best AS (
  SELECT habits.person_id, habits.category, habits.observed_at, habits.order_days, habits.last_order_at, habits.product_id
  FROM habits
  LEFT JOIN argo.recently_contacted AS contacted ON contacted.person_id = habits.person_id
  LEFT JOIN told ON told.user_id = habits.person_id AND told.category = habits.category
  WHERE contacted.person_id IS NULL AND told.user_id IS NULL
  QUALIFY ROW_NUMBER() OVER (PARTITION BY habits.person_id ORDER BY habits.order_days DESC, habits.category) = 1
)
SELECT
  person_id AS user_id,
  CONCAT(person_id, '/', category, '/', CAST(DATE(observed_at) AS STRING)) AS case_id,
  category,
  product_id,
  order_days,
  last_order_at
FROM best
ORDER BY order_days DESC, user_id
LIMIT 20
