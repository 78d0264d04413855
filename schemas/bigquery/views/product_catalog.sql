-- Every product once: each column from the latest product_updates row that says it (a price feed says only the price);
-- where all are silent, the latest event that named the product (else the latest that touched it). A product that only
-- events know is here too.
-- @column last_seen_at: The latest event that names the product
WITH updates AS (
  SELECT
    product_id,
    LAST_VALUE(name IGNORE NULLS) OVER history AS name,
    LAST_VALUE(category IGNORE NULLS) OVER history AS category,
    LAST_VALUE(brand IGNORE NULLS) OVER history AS brand,
    LAST_VALUE(price IGNORE NULLS) OVER history AS price,
    LAST_VALUE(cost IGNORE NULLS) OVER history AS cost,
    LAST_VALUE(currency IGNORE NULLS) OVER history AS currency,
    LAST_VALUE(in_stock IGNORE NULLS) OVER history AS in_stock,
    updated_at
  FROM argo.product_updates
  QUALIFY ROW_NUMBER() OVER (PARTITION BY product_id ORDER BY updated_at DESC) = 1
  WINDOW history AS (PARTITION BY product_id ORDER BY updated_at)
),
seen AS (
  SELECT
    product.product_id AS product_id,
    product.name AS name,
    product.category AS category,
    product.brand AS brand,
    product.price AS price,
    interactions.currency AS currency,
    interactions.event_timestamp AS last_seen_at
  FROM argo.user_interactions AS interactions, UNNEST(interactions.products) AS product
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY product.product_id
    ORDER BY product.name IS NULL, interactions.event_timestamp DESC, interactions.event_id
  ) = 1
)
SELECT
  COALESCE(updates.product_id, seen.product_id) AS product_id,
  COALESCE(updates.name, seen.name) AS name,
  COALESCE(updates.category, seen.category) AS category,
  COALESCE(updates.brand, seen.brand) AS brand,
  COALESCE(updates.price, seen.price) AS price,
  updates.cost AS cost,
  COALESCE(updates.currency, seen.currency) AS currency,
  updates.in_stock AS in_stock,
  updates.updated_at AS updated_at,
  seen.last_seen_at AS last_seen_at
FROM updates
FULL OUTER JOIN seen ON seen.product_id = updates.product_id
