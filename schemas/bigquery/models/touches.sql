-- What stage 1 learns from: who touched which product when and how, of the two years up to the run. Parameters: version
-- (STRING), trained_at (TIMESTAMP). A product whose category nobody says has the graph's cluster of it in its place.
SELECT
  CAST(@version AS STRING) AS version,
  CAST(@trained_at AS TIMESTAMP) AS trained_at,
  interactions.person_id AS user_id,
  product.product_id AS product_id,
  interactions.event_type AS kind,
  interactions.event_timestamp AS touched_at,
  COALESCE(product.quantity, 1) AS quantity,
  interactions.session_id AS session_id,
  COALESCE(product.category, catalog.category, CONCAT('cluster of ', features.cluster)) AS category
FROM argo.interactions AS interactions, UNNEST(interactions.products) AS product
LEFT JOIN argo.product_catalog AS catalog ON catalog.product_id = product.product_id
-- A cluster of one says nothing that the product itself does not.
LEFT JOIN argo.current_product_features AS features
  ON features.product_id = product.product_id AND features.cluster_size > 1
WHERE interactions.event_type IN ('order_completed', 'product_added', 'product_viewed')
  AND interactions.person_id IS NOT NULL
  AND interactions.event_timestamp > TIMESTAMP_SUB(@trained_at, INTERVAL 730 DAY)
