-- What share of the people who came in the last 28 days bought on the day they came?
SELECT SUM(numerator) AS buyers, SUM(denominator) AS people, SAFE_DIVIDE(SUM(numerator), SUM(denominator)) AS conversion
FROM argo.kpi_conversion
WHERE day > DATE_SUB(CURRENT_DATE(), INTERVAL 28 DAY)
