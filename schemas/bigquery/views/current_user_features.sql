-- People as the graph's latest run saw them. A run is one load, so it is complete or absent.
SELECT user_id, influence, cluster, cluster_share, cluster_count, version, computed_at
FROM argo.user_features
WHERE computed_at = (SELECT MAX(computed_at) FROM argo.user_features)
QUALIFY ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY version) = 1
