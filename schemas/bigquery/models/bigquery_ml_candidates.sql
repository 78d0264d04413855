-- Everybody's 100 best by the fitted matrix factorisation, without what they ordered; scores are shares of the person's
-- largest. No row at all when the people or the candidates are too few: one statement takes all of them or none.
-- Parameters: version (STRING), trained_at (TIMESTAMP), fewest_people (INT64), fewest_candidates (INT64).
WITH ordered AS (
  SELECT DISTINCT user_id, product_id FROM argo.touches WHERE version = @version AND kind = 'order_completed'
),
best AS (
  SELECT
    predicted.user_id AS user_id,
    predicted.product_id AS product_id,
    predicted.predicted_weight_confidence AS confidence,
    ROW_NUMBER() OVER (
      PARTITION BY predicted.user_id ORDER BY predicted.predicted_weight_confidence DESC, predicted.product_id
    ) AS rank
  FROM ML.RECOMMEND(MODEL argo.stage_1_model) AS predicted
  LEFT JOIN ordered ON ordered.user_id = predicted.user_id AND ordered.product_id = predicted.product_id
  WHERE ordered.user_id IS NULL AND predicted.predicted_weight_confidence > 0
  QUALIFY rank <= 100
)
SELECT
  user_id,
  product_id,
  rank,
  confidence / MAX(confidence) OVER (PARTITION BY user_id) AS score,
  CAST(@version AS STRING) AS version,
  CAST(@trained_at AS TIMESTAMP) AS trained_at
FROM best
QUALIFY SUM(IF(rank = 1, 1, 0)) OVER () >= @fewest_people AND COUNT(*) OVER () >= @fewest_candidates
