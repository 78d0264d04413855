-- Stage 1 of the recommender: up to 100 candidates per person by item-item collaborative filtering over implicit
-- weights (order 3, added 2, viewed 1). Similarity is the cosine over people, shrunk while few people support it. A
-- person with fewer than 20 candidates is filled up with what is popular. Never what the person has already ordered.
-- Parameters: version (STRING), trained_at (TIMESTAMP).
WITH touched AS (
  SELECT
    interactions.person_id AS person_id,
    product.product_id AS product_id,
    MAX(
      CASE interactions.event_type WHEN 'order_completed' THEN 3.0 WHEN 'product_added' THEN 2.0 ELSE 1.0 END
    ) AS weight,
    MAX(interactions.event_timestamp) AS last_at
  FROM argo.interactions AS interactions, UNNEST(interactions.products) AS product
  WHERE interactions.event_type IN ('order_completed', 'product_added', 'product_viewed')
    AND interactions.person_id IS NOT NULL
  GROUP BY interactions.person_id, product.product_id
),
-- The join below grows with the square of a person's products: nobody counts with more than the 200 latest.
tastes AS (
  SELECT person_id, product_id, weight
  FROM touched
  QUALIFY ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY last_at DESC, weight DESC, product_id) <= 200
),
norms AS (
  SELECT product_id, SQRT(SUM(weight * weight)) AS norm
  FROM tastes
  GROUP BY product_id
),
common AS (
  SELECT a.product_id AS product_a, b.product_id AS product_b, COUNT(*) AS people, SUM(a.weight * b.weight) AS dot
  FROM tastes AS a
  JOIN tastes AS b ON b.person_id = a.person_id AND b.product_id <> a.product_id
  GROUP BY a.product_id, b.product_id
  HAVING COUNT(*) >= 2
),
similarities AS (
  SELECT
    common.product_a AS product_a,
    common.product_b AS product_b,
    -- 5 people of shrinkage: a pair that two people share by chance does not beat one that fifty share by habit.
    common.dot / (norm_a.norm * norm_b.norm) * common.people / (common.people + 5) AS similarity
  FROM common
  JOIN norms AS norm_a ON norm_a.product_id = common.product_a
  JOIN norms AS norm_b ON norm_b.product_id = common.product_b
),
neighbours AS (
  SELECT product_a, product_b, similarity
  FROM similarities
  QUALIFY ROW_NUMBER() OVER (PARTITION BY product_a ORDER BY similarity DESC, product_b) <= 50
),
scored AS (
  SELECT
    tastes.person_id AS person_id,
    neighbours.product_b AS product_id,
    SUM(tastes.weight * neighbours.similarity) AS score
  FROM tastes
  JOIN neighbours ON neighbours.product_a = tastes.product_id
  LEFT JOIN touched AS bought
    ON bought.person_id = tastes.person_id AND bought.product_id = neighbours.product_b AND bought.weight = 3.0
  WHERE bought.product_id IS NULL
  GROUP BY tastes.person_id, neighbours.product_b
),
short_lists AS (
  SELECT people.person_id AS person_id
  FROM (SELECT DISTINCT person_id FROM argo.interactions WHERE person_id IS NOT NULL) AS people
  LEFT JOIN scored ON scored.person_id = people.person_id
  GROUP BY people.person_id
  HAVING COUNT(scored.product_id) < 20
),
popular AS (
  SELECT product_id, people / MAX(people) OVER () AS share
  FROM argo.popular_products
  ORDER BY people DESC, product_id
  LIMIT 100
),
filled AS (
  SELECT person_id, product_id, score FROM scored
  UNION ALL
  -- One millionth: what is merely popular comes after everything that similarity found.
  SELECT short_lists.person_id AS person_id, popular.product_id AS product_id, popular.share * 0.000001 AS score
  FROM short_lists
  CROSS JOIN popular
  LEFT JOIN touched AS bought
    ON bought.person_id = short_lists.person_id AND bought.product_id = popular.product_id AND bought.weight = 3.0
  LEFT JOIN scored ON scored.person_id = short_lists.person_id AND scored.product_id = popular.product_id
  WHERE bought.product_id IS NULL AND scored.product_id IS NULL
),
ranked AS (
  SELECT
    person_id,
    product_id,
    score,
    ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY score DESC, product_id) AS place
  FROM filled
)
SELECT
  person_id AS user_id,
  product_id,
  place AS rank,
  score,
  @version AS version,
  @trained_at AS trained_at
FROM ranked
WHERE place <= 100
