-- Products as the graph's latest run saw them. A run is one load, so it is complete or absent.
SELECT product_id, cluster, cluster_size, centrality, version, computed_at
FROM argo.product_features
WHERE computed_at = (SELECT MAX(computed_at) FROM argo.product_features)
QUALIFY ROW_NUMBER() OVER (PARTITION BY product_id ORDER BY version) = 1
