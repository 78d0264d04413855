-- Products by how many people of a country ordered, added or viewed them in the 90 days up to the latest such event: the answer
-- for somebody of whom only the country is known. With fewer than three people a product is no habit of a country's.
-- @column country: Country, as the events' location says it
-- @column product_id: Id in the shop
-- @column people: People of that country who ordered, added or viewed it
WITH touched AS (
  SELECT interactions.person_id, interactions.location.country AS country, interactions.event_timestamp, product.product_id
  FROM argo.interactions AS interactions, UNNEST(interactions.products) AS product
  WHERE interactions.event_type IN ('order_completed', 'product_added', 'product_viewed')
)
SELECT country, product_id, COUNT(DISTINCT person_id) AS people
FROM touched
WHERE country IS NOT NULL AND event_timestamp > TIMESTAMP_SUB((SELECT MAX(event_timestamp) FROM touched), INTERVAL 90 DAY)
GROUP BY country, product_id
HAVING COUNT(DISTINCT person_id) >= 3
