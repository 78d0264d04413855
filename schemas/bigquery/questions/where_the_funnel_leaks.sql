-- Where do visits end on the way to an order, by source?
SELECT source, SUM(viewed) AS viewed, SUM(added) AS added, SUM(checked_out) AS checked_out, SUM(ordered) AS ordered
FROM argo.funnel
WHERE unit = 'session' AND day > DATE_SUB(CURRENT_DATE(), INTERVAL 28 DAY)
GROUP BY source
ORDER BY viewed DESC
