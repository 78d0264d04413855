-- Each variant of a recommender's experiment against its control, day by day, all days up to it together: of the people who
-- were in it, the share that ordered a product recommended to them within 7 days. Look whenever you like, and stop as soon as
-- always_valid_p is below your threshold: it stays valid under that, unlike an ordinary p-value (mSPRT with a normal mixture
-- of 1 percentage point; Johari, Koomen, Pekelis, Walsh 2017, doi 10.1145/3097983.3097992).
-- @column experiment: The experiment (agents/recommender/experiments.yaml)
-- @column variant: The variant; control is what the others are compared with
-- @column day: The last day that counts, in UTC
-- @column people: People in the variant so far; whoever saw two variants counts in none
-- @column accepted: Of these, who ordered a recommended product within 7 days
-- @column rate: accepted / people
-- @column difference: rate less the control's; NULL for the control
-- @column always_valid_p: Chance of such a difference, on this or any day before, without a cause; NULL for the control
WITH served AS (
  SELECT experiment, variant, user_id, product_id, served_at
  FROM argo.recommendations
  WHERE experiment IS NOT NULL AND variant IS NOT NULL
),
members AS (
  SELECT experiment, user_id, MIN(variant) AS variant, DATE(MIN(served_at)) AS day
  FROM served
  GROUP BY experiment, user_id
  HAVING COUNT(DISTINCT served.variant) = 1
),
bought AS (
  SELECT interactions.person_id AS person_id, product.product_id AS product_id, interactions.event_timestamp AS ordered_at
  FROM argo.interactions AS interactions, UNNEST(interactions.products) AS product
  WHERE interactions.event_type = 'order_completed'
),
acceptances AS (
  SELECT served.experiment AS experiment, served.user_id AS user_id, DATE(MIN(bought.ordered_at)) AS day
  FROM served
  JOIN bought
    ON bought.person_id = served.user_id
    AND bought.product_id = served.product_id
    AND bought.ordered_at >= served.served_at
    AND bought.ordered_at < TIMESTAMP_ADD(served.served_at, INTERVAL 7 DAY)
  GROUP BY served.experiment, served.user_id
),
changes AS (
  SELECT experiment, variant, day, 1 AS people, 0 AS accepted FROM members
  UNION ALL
  SELECT members.experiment AS experiment, members.variant AS variant, acceptances.day AS day, 0 AS people, 1 AS accepted
  FROM acceptances
  JOIN members ON members.experiment = acceptances.experiment AND members.user_id = acceptances.user_id
),
grid AS (
  SELECT days.experiment AS experiment, days.day AS day, variants.variant AS variant
  FROM (SELECT DISTINCT experiment, day FROM changes) AS days
  JOIN (SELECT DISTINCT experiment, variant FROM changes) AS variants ON variants.experiment = days.experiment
),
daily AS (
  SELECT
    grid.experiment AS experiment,
    grid.variant AS variant,
    grid.day AS day,
    COALESCE(SUM(changes.people), 0) AS people,
    COALESCE(SUM(changes.accepted), 0) AS accepted
  FROM grid
  LEFT JOIN changes
    ON changes.experiment = grid.experiment AND changes.variant = grid.variant AND changes.day = grid.day
  GROUP BY grid.experiment, grid.variant, grid.day
),
totals AS (
  SELECT
    experiment,
    variant,
    day,
    SUM(people) OVER until_day AS people,
    SUM(accepted) OVER until_day AS accepted
  FROM daily
  WINDOW until_day AS (PARTITION BY experiment, variant ORDER BY day)
),
rates AS (
  SELECT experiment, variant, day, people, accepted, SAFE_DIVIDE(accepted, people) AS rate
  FROM totals
),
compared AS (
  SELECT
    rates.experiment AS experiment,
    rates.variant AS variant,
    rates.day AS day,
    rates.people AS people,
    rates.accepted AS accepted,
    rates.rate AS rate,
    rates.rate - control.rate AS difference,
    rates.rate * (1 - rates.rate) / rates.people + control.rate * (1 - control.rate) / control.people AS variance
  FROM rates
  LEFT JOIN rates AS control
    ON control.experiment = rates.experiment AND control.day = rates.day AND control.variant = 'control'
    AND rates.variant <> 'control' AND control.people > 0 AND rates.people > 0
),
tested AS (
  SELECT
    experiment,
    variant,
    day,
    people,
    accepted,
    rate,
    difference,
    CASE
      WHEN difference IS NULL THEN NULL
      WHEN variance <= 0 THEN 1.0  -- nobody, or everybody, has accepted: nothing can be said
      -- 0.0001 is the mixture's variance: 1 percentage point, the size of difference that is looked for, squared.
      ELSE LEAST(1.0, SQRT((variance + 0.0001) / variance)
        * EXP(-LEAST(700.0, 0.0001 * difference * difference / (2 * variance * (variance + 0.0001)))))
    END AS p_value
  FROM compared
)
SELECT
  experiment,
  variant,
  day,
  people,
  accepted,
  rate,
  difference,
  MIN(p_value) OVER (PARTITION BY experiment, variant ORDER BY day) AS always_valid_p
FROM tested
