-- NDCG@20 of the fitted matrix factorisation and of popularity, on what people touched after the cut and not before.
-- Parameters: version (STRING), cut_at (TIMESTAMP). The same question and figure as training/splitting.py and metrics.py ask:
-- products and people known before the cut, 3,000 people at most, binary gains, the ideal list being all that is wanted.
WITH earlier AS (
  SELECT DISTINCT user_id, product_id FROM argo.touches WHERE version = @version AND touched_at <= @cut_at
),
popularity AS (
  SELECT product_id, COUNT(*) AS people FROM earlier GROUP BY product_id
),
wanted AS (
  SELECT DISTINCT later.user_id AS user_id, later.product_id AS product_id
  FROM argo.touches AS later
  JOIN popularity ON popularity.product_id = later.product_id
  LEFT JOIN earlier ON earlier.user_id = later.user_id AND earlier.product_id = later.product_id
  WHERE later.version = @version AND later.touched_at > @cut_at AND earlier.user_id IS NULL
),
asked AS (
  SELECT wanted.user_id AS user_id, COUNT(*) AS relevant
  FROM wanted
  JOIN (SELECT DISTINCT user_id FROM earlier) AS known ON known.user_id = wanted.user_id
  GROUP BY wanted.user_id
  ORDER BY FARM_FINGERPRINT(wanted.user_id)
  LIMIT 3000
),
ranked AS (
  SELECT
    'model' AS model,
    predicted.user_id AS user_id,
    predicted.product_id AS product_id,
    ROW_NUMBER() OVER (
      PARTITION BY predicted.user_id ORDER BY predicted.predicted_weight_confidence DESC, predicted.product_id
    ) AS place
  FROM ML.RECOMMEND(MODEL argo.stage_1_model, (SELECT user_id FROM asked)) AS predicted
  LEFT JOIN earlier ON earlier.user_id = predicted.user_id AND earlier.product_id = predicted.product_id
  WHERE earlier.user_id IS NULL
  UNION ALL
  SELECT
    'popularity' AS model,
    asked.user_id AS user_id,
    popularity.product_id AS product_id,
    ROW_NUMBER() OVER (PARTITION BY asked.user_id ORDER BY popularity.people DESC, popularity.product_id) AS place
  FROM asked
  CROSS JOIN popularity
  LEFT JOIN earlier ON earlier.user_id = asked.user_id AND earlier.product_id = popularity.product_id
  WHERE earlier.user_id IS NULL
),
gained AS (
  SELECT ranked.model AS model, ranked.user_id AS user_id, SUM(1 / LOG(ranked.place + 1, 2)) AS gain
  FROM ranked
  JOIN wanted ON wanted.user_id = ranked.user_id AND wanted.product_id = ranked.product_id
  WHERE ranked.place <= 20
  GROUP BY ranked.model, ranked.user_id
),
ideals AS (
  SELECT wishes, SUM(1 / LOG(place + 1, 2)) AS ideal
  FROM UNNEST(GENERATE_ARRAY(1, 20)) AS wishes, UNNEST(GENERATE_ARRAY(1, wishes)) AS place
  GROUP BY wishes
)
SELECT
  COUNT(DISTINCT asked.user_id) AS people,
  COALESCE(SUM(IF(gained.model = 'model', gained.gain / ideals.ideal, 0)) / COUNT(DISTINCT asked.user_id), 0) AS ndcg,
  COALESCE(SUM(IF(gained.model = 'popularity', gained.gain / ideals.ideal, 0)) / COUNT(DISTINCT asked.user_id), 0)
    AS popularity_ndcg
FROM asked
JOIN ideals ON ideals.wishes = LEAST(asked.relevant, 20)
LEFT JOIN gained ON gained.user_id = asked.user_id
