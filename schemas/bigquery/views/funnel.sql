-- From looking to buying, in this order: product_viewed, product_added, checkout_started, order_completed. A step counts
-- only after the step before it, and within 7 days of the look; who skips one (or whose client does not send it) stays
-- before it, and is only in ordered_anyhow. Twice over: unit 'session' follows a visit (the client's session of a device;
-- without one, the device's day), unit 'person' follows a person from each day on which they look at something.
-- @column day: Day of the first look, in UTC; the last 7 days may still grow
-- @column unit: session or person
-- @column viewed: Sessions or persons that looked at a product
-- @column added: Of these, those that then put one into the cart
-- @column checked_out: Of these, those that then began to check out
-- @column ordered: Of these, those that then ordered
-- @column ordered_anyhow: Of those in viewed, those that ordered within 7 days, whatever came between
WITH steps AS (
  SELECT
    source,
    person_id,
    COALESCE(anonymous_id, person_id) AS device,
    session_id,
    event_type,
    event_timestamp,
    DATE(event_timestamp) AS day
  FROM argo.interactions
  WHERE event_type IN ('product_viewed', 'product_added', 'checkout_started', 'order_completed')
    AND person_id IS NOT NULL
),
units AS (
  SELECT
    'session' AS unit,
    CONCAT(device, '/', COALESCE(session_id, CAST(day AS STRING))) AS who,
    source, day, event_type, event_timestamp
  FROM steps
  UNION ALL
  SELECT 'person' AS unit, person_id AS who, source, day, event_type, event_timestamp
  FROM steps
),
looks AS (
  SELECT unit, who, source, MIN(day) AS day, MIN(event_timestamp) AS viewed_at
  FROM units
  WHERE event_type = 'product_viewed'
  GROUP BY unit, who, source, IF(unit = 'person', day, NULL)
),
carts AS (
  SELECT looks.unit, looks.who, looks.source, looks.day, looks.viewed_at, MIN(units.event_timestamp) AS added_at
  FROM looks
  LEFT JOIN units
    ON units.unit = looks.unit AND units.who = looks.who AND units.source = looks.source
    AND units.event_type = 'product_added'
    AND units.event_timestamp >= looks.viewed_at
    AND units.event_timestamp < TIMESTAMP_ADD(looks.viewed_at, INTERVAL 7 DAY)
  GROUP BY looks.unit, looks.who, looks.source, looks.day, looks.viewed_at
),
checkouts AS (
  SELECT
    carts.unit, carts.who, carts.source, carts.day, carts.viewed_at, carts.added_at,
    MIN(units.event_timestamp) AS checked_out_at
  FROM carts
  LEFT JOIN units
    ON units.unit = carts.unit AND units.who = carts.who AND units.source = carts.source
    AND units.event_type = 'checkout_started'
    AND units.event_timestamp >= carts.added_at
    AND units.event_timestamp < TIMESTAMP_ADD(carts.viewed_at, INTERVAL 7 DAY)
  GROUP BY carts.unit, carts.who, carts.source, carts.day, carts.viewed_at, carts.added_at
),
paths AS (
  SELECT
    checkouts.unit, checkouts.who, checkouts.source, checkouts.day, checkouts.added_at, checkouts.checked_out_at,
    MIN(IF(units.event_timestamp >= checkouts.checked_out_at, units.event_timestamp, NULL)) AS ordered_at,
    MIN(units.event_timestamp) AS ordered_anyhow_at
  FROM checkouts
  LEFT JOIN units
    ON units.unit = checkouts.unit AND units.who = checkouts.who AND units.source = checkouts.source
    AND units.event_type = 'order_completed'
    AND units.event_timestamp >= checkouts.viewed_at
    AND units.event_timestamp < TIMESTAMP_ADD(checkouts.viewed_at, INTERVAL 7 DAY)
  GROUP BY
    checkouts.unit, checkouts.who, checkouts.source, checkouts.day, checkouts.viewed_at, checkouts.added_at,
    checkouts.checked_out_at
)
SELECT
  day,
  source,
  unit,
  COUNT(*) AS viewed,
  COUNT(added_at) AS added,
  COUNT(checked_out_at) AS checked_out,
  COUNT(ordered_at) AS ordered,
  COUNT(ordered_anyhow_at) AS ordered_anyhow
FROM paths
GROUP BY day, source, unit
