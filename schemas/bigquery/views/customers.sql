-- Everybody who did something, one row each: when they came, when they were here last, what they bought. What the suite
-- itself did to them (email_sent and the like) is no act of theirs, but counts in emails_sent.
-- @column is_known: Whether a user_id is known; else the person is one device
-- @column first_seen_at: First thing they did; null when we only wrote to them
-- @column last_seen_at: Latest thing they did
-- @column active_days: Days, in UTC, on which they did something
-- @column order_count: Orders, each once, cancelled ones left out
-- @column first_order_at: First of these orders
-- @column last_order_at: Latest of these orders
-- @column currency: Currency of all these orders; null when there are several or none
-- @column money: What these orders brought, in currency; null when they are in several currencies
-- @column emails_sent: Emails that the suite sent them
WITH seen AS (
  SELECT
    person_id,
    LOGICAL_OR(user_id IS NOT NULL) AS is_known,
    MIN(IF(is_own, event_timestamp, NULL)) AS first_seen_at,
    MAX(IF(is_own, event_timestamp, NULL)) AS last_seen_at,
    COUNT(DISTINCT IF(is_own, DATE(event_timestamp), NULL)) AS active_days,
    COUNTIF(event_type = 'email_sent') AS emails_sent
  FROM argo.interactions
  WHERE person_id IS NOT NULL
  GROUP BY person_id
),
bought AS (
  SELECT
    person_id,
    COUNT(*) AS order_count,
    MIN(ordered_at) AS first_order_at,
    MAX(ordered_at) AS last_order_at,
    IF(COUNT(DISTINCT COALESCE(currency, '')) = 1, MIN(currency), NULL) AS currency,
    IF(COUNT(DISTINCT COALESCE(currency, '')) = 1, SUM(money), NULL) AS money
  FROM argo.orders
  WHERE cancelled_at IS NULL AND person_id IS NOT NULL
  GROUP BY person_id
)
SELECT
  seen.person_id,
  seen.is_known,
  seen.first_seen_at,
  seen.last_seen_at,
  seen.active_days,
  COALESCE(bought.order_count, 0) AS order_count,
  bought.first_order_at,
  bought.last_order_at,
  bought.currency,
  bought.money,
  seen.emails_sent
FROM seen
LEFT JOIN bought ON bought.person_id = seen.person_id
