-- People who buy regularly (at least 3 orders) and are overdue: longer away than 1.5 times their usual gap between
-- orders, but not longer than 90 days. The 20 who brought the most money and got no email in the last 7 days. A case is
-- the last order (and its source): the same lapse is the same case. Cases that were told already are left out before the
-- 20 are taken, or the same 20 would keep everybody else from being found.
WITH orders AS (
  SELECT
    person_id,
    CONCAT(source, '/', COALESCE(CONCAT(producer, '/'), ''), event_id) AS order_key,
    event_timestamp,
    COALESCE(revenue, 0) AS money
  FROM argo.interactions
  WHERE event_type = 'order_completed' AND person_id IS NOT NULL
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY person_id, source, IF(order_id IS NULL, producer, NULL), COALESCE(order_id, event_id)
    ORDER BY event_timestamp, event_id
  ) = 1
),
gaps AS (
  SELECT
    person_id,
    order_key,
    event_timestamp,
    money,
    TIMESTAMP_DIFF(
      event_timestamp,
      LAG(event_timestamp) OVER (PARTITION BY person_id ORDER BY event_timestamp, order_key),
      SECOND
    ) / 86400 AS gap_days,
    ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY event_timestamp DESC, order_key DESC) AS place_from_last
  FROM orders
),
ordered_gaps AS (
  SELECT
    person_id,
    gap_days,
    ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY gap_days) AS place,
    COUNT(*) OVER (PARTITION BY person_id) AS gaps
  FROM gaps
  WHERE gap_days >= 1 -- orders within a day are one shopping trip, and no habit
),
usual AS (
  SELECT person_id, AVG(gap_days) AS usual_gap_days
  FROM ordered_gaps
  WHERE 2 * place BETWEEN gaps AND gaps + 2 -- the one in the middle, or the two
  GROUP BY person_id
),
people AS (
  SELECT
    person_id,
    COUNT(*) AS orders,
    SUM(money) AS revenue,
    MAX(IF(place_from_last = 1, order_key, NULL)) AS last_order_key,
    MAX(event_timestamp) AS last_order_at
  FROM gaps
  GROUP BY person_id
  HAVING COUNT(*) >= 3
),
known AS (
  SELECT DISTINCT JSON_VALUE(data, '$.case_id') AS case_id
  FROM argo.moments
  WHERE kind = 'lapsed_buyer'
),
away AS (
  SELECT
    people.person_id AS user_id,
    people.last_order_key AS case_id,
    TIMESTAMP_DIFF(CURRENT_TIMESTAMP(), people.last_order_at, SECOND) / 86400 AS days_since_last_order,
    usual.usual_gap_days AS usual_gap_days,
    people.orders AS orders,
    people.revenue AS revenue,
    people.last_order_at AS last_order_at
  FROM people
  JOIN usual ON usual.person_id = people.person_id
  LEFT JOIN argo.recently_contacted AS contacted ON contacted.person_id = people.person_id
  LEFT JOIN known ON known.case_id = people.last_order_key
  WHERE contacted.person_id IS NULL AND known.case_id IS NULL
)
SELECT user_id, case_id, days_since_last_order, usual_gap_days, orders, last_order_at
FROM away
WHERE days_since_last_order > 1.5 * usual_gap_days AND days_since_last_order <= 90
ORDER BY revenue DESC, user_id
LIMIT 20
