-- The shop's products; nobody's data.
SELECT product_id, name, category, brand, price
FROM argo.product_catalog
