-- Stage 1 by BigQuery ML: matrix factorisation of who touched what, up to a moment, weighed as in training/matrices.py: kind,
-- quantity, age, with falling returns. Filled in by agents/recommender/bigquery_ml.py, because a model's options take no
-- parameters: version, until, half_life_days, num_factors, l2_reg, wals_alpha.
CREATE OR REPLACE MODEL argo.stage_1_model
OPTIONS (
  model_type = 'MATRIX_FACTORIZATION',
  feedback_type = 'IMPLICIT',
  user_col = 'user_id',
  item_col = 'product_id',
  rating_col = 'weight',
  num_factors = {num_factors},
  l2_reg = {l2_reg},
  wals_alpha = {wals_alpha},
  max_iterations = 15,
  data_split_method = 'NO_SPLIT'
) AS
SELECT
  user_id,
  product_id,
  LN(1 + SUM(
    CASE kind
      WHEN 'order_completed' THEN 3 * (1 + LN(GREATEST(quantity, 1)) / 5)
      WHEN 'product_added' THEN 2
      ELSE 1
    END
    * POW(0.5, TIMESTAMP_DIFF(TIMESTAMP '{until}', touched_at, SECOND) / ({half_life_days} * 86400))
  )) AS weight
FROM argo.touches
WHERE version = '{version}' AND touched_at <= TIMESTAMP '{until}'
GROUP BY user_id, product_id
