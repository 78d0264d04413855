-- Stage 1 of the recommender: the candidates of the latest training run. A run is one statement, so it is complete or
-- absent.
SELECT user_id, product_id, rank, score, version, trained_at
FROM argo.candidates
WHERE trained_at = (SELECT MAX(trained_at) FROM argo.candidates)
QUALIFY ROW_NUMBER() OVER (PARTITION BY user_id, product_id, version ORDER BY rank) = 1
