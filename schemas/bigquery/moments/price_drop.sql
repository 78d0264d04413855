-- People for whom something got cheaper: they looked at it, put it into the cart or wished for it within 30 days before its price
-- fell by at least a twentieth, did not buy it, and can buy it now. A price that is sent again unchanged is no change; what
-- fell more than 3 days ago is no news. One product a person, the one that fell most; the 20 with the largest fall who got
-- no email in the last 7 days. A case is the person, the product and the moment of the change. Cases that were told already
-- are left out before the 20 are taken.
WITH changes AS (
  SELECT product_id, price, updated_at
  FROM argo.product_updates
  WHERE price IS NOT NULL AND updated_at <= CURRENT_TIMESTAMP()
  QUALIFY COALESCE(LAG(price) OVER (PARTITION BY product_id ORDER BY updated_at, price DESC) <> price, TRUE)
),
steps AS (
  SELECT
    product_id,
    price AS new_price,
    LAG(price) OVER (PARTITION BY product_id ORDER BY updated_at, price DESC) AS old_price,
    updated_at AS changed_at,
    ROW_NUMBER() OVER (PARTITION BY product_id ORDER BY updated_at DESC, price) AS place_from_last
  FROM changes
),
drops AS (
  SELECT steps.product_id, catalog.name AS product_name, steps.old_price, steps.new_price, steps.changed_at
  FROM steps
  JOIN argo.product_catalog AS catalog ON catalog.product_id = steps.product_id
  WHERE
    steps.place_from_last = 1
    AND steps.new_price > 0
    AND steps.new_price <= steps.old_price * 0.95
    AND steps.changed_at > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 3 DAY)
    AND COALESCE(catalog.in_stock, TRUE)
),
touched AS (
  SELECT
    interactions.person_id AS person_id,
    product.product_id AS product_id,
    interactions.event_type AS event_type,
    interactions.event_timestamp AS event_timestamp
  FROM argo.interactions AS interactions, UNNEST(interactions.products) AS product
  WHERE
    interactions.event_type IN ('product_viewed', 'product_added', 'product_added_to_wishlist', 'order_completed')
    AND interactions.event_timestamp > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 33 DAY)
    -- A device of which nobody knows whose it is has no address either.
    AND (interactions.user_id IS NOT NULL OR interactions.person_id <> interactions.anonymous_id)
),
wishes AS (
  SELECT
    touched.person_id AS person_id,
    drops.product_id AS product_id,
    MAX(IF(touched.event_type <> 'order_completed', touched.event_timestamp, NULL)) AS looked_at
  FROM touched
  JOIN drops ON drops.product_id = touched.product_id
  WHERE
    touched.event_type = 'order_completed'
    OR (
      touched.event_timestamp < drops.changed_at
      AND touched.event_timestamp > TIMESTAMP_SUB(drops.changed_at, INTERVAL 30 DAY)
    )
  GROUP BY touched.person_id, drops.product_id
  HAVING COUNTIF(touched.event_type = 'order_completed') = 0
),
known AS (
  SELECT DISTINCT JSON_VALUE(data, '$.case_id') AS case_id
  FROM argo.moments
  WHERE kind = 'price_drop'
),
cases AS (
  SELECT
    wishes.person_id AS user_id,
    CONCAT(wishes.person_id, '/', drops.product_id, '/', CAST(UNIX_SECONDS(drops.changed_at) AS STRING)) AS case_id,
    drops.product_id AS product_id,
    drops.product_name AS product_name,
    drops.old_price AS old_price,
    drops.new_price AS new_price,
    CAST(ROUND(100 * (1 - drops.new_price / drops.old_price)) AS INT64) AS drop_percent,
    wishes.looked_at AS looked_at
  FROM wishes
  JOIN drops ON drops.product_id = wishes.product_id
  LEFT JOIN argo.recently_contacted AS contacted ON contacted.person_id = wishes.person_id
  WHERE contacted.person_id IS NULL
),
best AS (
  SELECT cases.*
  FROM cases
  LEFT JOIN known ON known.case_id = cases.case_id
  WHERE known.case_id IS NULL
  QUALIFY ROW_NUMBER() OVER (PARTITION BY cases.user_id ORDER BY cases.drop_percent DESC, cases.product_id) = 1
)
SELECT user_id, case_id, product_id, product_name, old_price, new_price, drop_percent, looked_at
FROM best
ORDER BY drop_percent DESC, user_id
LIMIT 20
