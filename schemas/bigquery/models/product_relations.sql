-- Which products belong together, beyond chance, in the year up to the run: bought in one order (bought_with), looked at in
-- one visit (viewed_with), touched one after the other by one person (then). Parameters: version (STRING), found_at (TIMESTAMP).
-- A relation has a direction, from product_id to related_id; bought_with and viewed_with are there in both.
-- @column llr: Dunning's log-likelihood ratio (G squared) of the 2x2 table of the decayed counts
-- @column score: Strength, 0 to 1: the cosine of the decayed counts, shrunk by support / (support + 5)
-- @column found_at: When the run began

-- Counts are of units: an order, a visit, a step from one moment of a person to the next within 30 days. A unit counts
-- half as much every 90 days; nobody's unit has more than 40 products, or the join below would grow with its square.
WITH touched AS (
  SELECT
    'bought_with' AS kind, order_key AS unit, person_id, ordered_at AS touched_at, item.product_id AS product_id
  FROM argo.orders, UNNEST(products) AS item
  WHERE cancelled_at IS NULL AND ordered_at > TIMESTAMP_SUB(@found_at, INTERVAL 365 DAY) AND ordered_at <= @found_at
  UNION ALL
  SELECT
    'viewed_with' AS kind,
    CONCAT(events.source, '/', events.person_id, '/', COALESCE(events.session_id, CAST(DATE(events.event_timestamp) AS STRING)))
      AS unit,
    events.person_id AS person_id,
    events.event_timestamp AS touched_at,
    item.product_id AS product_id
  FROM argo.interactions AS events, UNNEST(events.products) AS item
  WHERE events.event_type IN ('product_viewed', 'product_added')
    AND events.event_timestamp > TIMESTAMP_SUB(@found_at, INTERVAL 365 DAY) AND events.event_timestamp <= @found_at
),
baskets AS (
  SELECT kind, unit, person_id, product_id, MAX(touched_at) AS last_at
  FROM touched
  WHERE person_id IS NOT NULL
  GROUP BY kind, unit, person_id, product_id
  QUALIFY ROW_NUMBER() OVER (PARTITION BY kind, unit, person_id ORDER BY MAX(touched_at) DESC, product_id) <= 40
),
moments AS (
  SELECT person_id, touched_at, product_id
  FROM touched
  WHERE person_id IS NOT NULL
  GROUP BY person_id, touched_at, product_id
  QUALIFY ROW_NUMBER() OVER (PARTITION BY person_id, touched_at ORDER BY product_id) <= 40
),
steps AS (
  SELECT person_id, touched_at, next_at
  FROM (
    SELECT person_id, touched_at, LEAD(touched_at) OVER (PARTITION BY person_id ORDER BY touched_at) AS next_at
    FROM (SELECT DISTINCT person_id, touched_at FROM moments) AS times
  ) AS ordered
  WHERE next_at <= TIMESTAMP_ADD(touched_at, INTERVAL 30 DAY)
),
units AS (
  SELECT kind, unit, person_id, MAX(last_at) AS touched_at FROM baskets GROUP BY kind, unit, person_id
  UNION ALL
  SELECT 'then' AS kind, CAST(UNIX_MICROS(touched_at) AS STRING) AS unit, person_id, next_at AS touched_at FROM steps
),
weighed AS (
  SELECT
    kind, unit, person_id, POW(0.5, TIMESTAMP_DIFF(@found_at, touched_at, SECOND) / (90 * 86400)) AS weight
  FROM units
),
totals AS (
  SELECT kind, SUM(weight) AS total FROM weighed GROUP BY kind
),
sources AS (
  SELECT kind, unit, person_id, product_id FROM baskets
  UNION ALL
  SELECT 'then' AS kind, CAST(UNIX_MICROS(steps.touched_at) AS STRING) AS unit, steps.person_id, moments.product_id
  FROM steps
  JOIN moments ON moments.person_id = steps.person_id AND moments.touched_at = steps.touched_at
),
targets AS (
  SELECT kind, unit, person_id, product_id FROM baskets
  UNION ALL
  SELECT 'then' AS kind, CAST(UNIX_MICROS(steps.touched_at) AS STRING) AS unit, steps.person_id, moments.product_id
  FROM steps
  JOIN moments ON moments.person_id = steps.person_id AND moments.touched_at = steps.next_at
),
source_counts AS (
  SELECT kind, product_id, SUM(weight) AS counted, COUNT(*) OVER (PARTITION BY kind) AS products
  FROM sources
  JOIN weighed USING (kind, unit, person_id)
  GROUP BY kind, product_id
),
target_counts AS (
  SELECT kind, product_id, SUM(weight) AS counted, COUNT(*) OVER (PARTITION BY kind) AS products
  FROM targets
  JOIN weighed USING (kind, unit, person_id)
  GROUP BY kind, product_id
),
-- Three people at least: what one person repeats, however often, relates nothing for others.
pairs AS (
  SELECT
    kind,
    sources.product_id AS product_id,
    targets.product_id AS related_id,
    COUNT(*) AS support,
    COUNT(DISTINCT person_id) AS people,
    SUM(weight) AS both_count
  FROM sources
  JOIN targets USING (kind, unit, person_id)
  JOIN weighed USING (kind, unit, person_id)
  WHERE sources.product_id <> targets.product_id
  GROUP BY kind, sources.product_id, targets.product_id
  HAVING COUNT(DISTINCT person_id) >= 3
),
cells AS (
  SELECT
    pairs.kind AS kind,
    pairs.product_id AS product_id,
    pairs.related_id AS related_id,
    pairs.support AS support,
    pairs.people AS people,
    totals.total AS total,
    source_counts.counted AS row_count,
    target_counts.counted AS column_count,
    source_counts.products * target_counts.products AS pair_count,
    pairs.both_count AS k11,
    source_counts.counted - pairs.both_count AS k12,
    target_counts.counted - pairs.both_count AS k21,
    totals.total - source_counts.counted - target_counts.counted + pairs.both_count AS k22
  FROM pairs
  JOIN totals ON totals.kind = pairs.kind
  JOIN source_counts ON source_counts.kind = pairs.kind AND source_counts.product_id = pairs.product_id
  JOIN target_counts ON target_counts.kind = pairs.kind AND target_counts.product_id = pairs.related_id
),
-- Differences of sums may miss 0 by a rounding error; so small a cell adds nothing.
tests AS (
  SELECT
    *,
    2 * (
      IF(k11 > 1e-9, k11 * LN(k11 * total / (row_count * column_count)), 0)
      + IF(k12 > 1e-9, k12 * LN(k12 * total / (row_count * (total - column_count))), 0)
      + IF(k21 > 1e-9, k21 * LN(k21 * total / ((total - row_count) * column_count)), 0)
      + IF(k22 > 1e-9, k22 * LN(k22 * total / ((total - row_count) * (total - column_count))), 0)
    ) AS llr,
    k11 / SQRT(row_count * column_count) * support / (support + 5) AS score
  FROM cells
),
-- Together more often than by chance, and so much that among all pairs of products not one in twenty runs would show a
-- single false one: p is at most EXP(-llr / 2) (Chernoff), the bound is Bonferroni's.
significant AS (
  SELECT kind, product_id, related_id, support, people, llr, score
  FROM tests
  WHERE k11 * total > row_count * column_count AND llr >= 2 * LN(pair_count / 0.05)
)
SELECT
  kind,
  product_id,
  related_id,
  support,
  people,
  llr,
  score,
  CAST(@version AS STRING) AS version,
  CAST(@found_at AS TIMESTAMP) AS found_at
FROM significant
QUALIFY ROW_NUMBER() OVER (PARTITION BY kind, product_id ORDER BY score DESC, related_id) <= 50
