-- Products that go together: for each product the 20 others that share most of its visits, with how many visits and how many
-- orders they share. Strength: the share of the product's visits (5 more against chance), damped by the other's popularity,
-- so that what goes with everything does not win. A visit counts its first 30 products: robots look at all of them.
WITH touched AS (
  SELECT
    CONCAT(
      COALESCE(interactions.anonymous_id, interactions.person_id), '@',
      COALESCE(interactions.session_id, CAST(DATE(interactions.event_timestamp) AS STRING))
    ) AS visit,
    IF(interactions.event_type = 'order_completed', interactions.event_id, NULL) AS order_id,
    product.product_id AS product_id,
    interactions.event_timestamp AS event_timestamp
  FROM argo.interactions AS interactions, UNNEST(interactions.products) AS product
  WHERE interactions.event_type IN ('order_completed', 'product_added', 'product_viewed')
    AND interactions.person_id IS NOT NULL
),
seen AS (
  SELECT visit, product_id, MAX(order_id) AS order_event, MIN(event_timestamp) AS first_at
  FROM touched
  GROUP BY visit, product_id
),
visits AS (
  SELECT visit, product_id, order_event
  FROM seen
  QUALIFY ROW_NUMBER() OVER (PARTITION BY visit ORDER BY first_at, product_id) <= 30
),
counts AS (
  SELECT product_id, COUNT(*) AS visits
  FROM visits
  GROUP BY product_id
),
pairs AS (
  SELECT
    a.product_id AS from_id,
    b.product_id AS product_id,
    COUNT(*) AS visits,
    COUNTIF(a.order_event = b.order_event) AS orders
  FROM visits AS a
  JOIN visits AS b ON b.visit = a.visit AND b.product_id <> a.product_id
  GROUP BY a.product_id, b.product_id
),
scored AS (
  SELECT
    pairs.from_id AS from_id,
    pairs.product_id AS product_id,
    pairs.visits AS visits,
    pairs.orders AS orders,
    pairs.visits / (froms.visits + 5) / SQRT(others.visits) AS strength
  FROM pairs
  JOIN counts AS froms ON froms.product_id = pairs.from_id
  JOIN counts AS others ON others.product_id = pairs.product_id
)
SELECT from_id, product_id, visits, orders, strength
FROM scored
QUALIFY ROW_NUMBER() OVER (PARTITION BY from_id ORDER BY strength DESC, product_id) <= 20
