-- Which moments led to an email, and which of these were followed by an order within a week?
SELECT kind, SUM(found) AS found, SUM(sent) AS sent, SUM(ordered) AS ordered
FROM argo.moments_daily
GROUP BY kind
ORDER BY sent DESC
