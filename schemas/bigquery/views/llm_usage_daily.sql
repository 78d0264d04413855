-- Model calls per day, agent, prompt and model, each call once: how many, how many failed, what they used.
-- @column day: Day, in UTC
-- @column calls: Calls
-- @column failed: Calls without a usable answer
-- @column repaired: Calls whose first answer did not fit and whose second did
-- @column mean_latency_ms: Mean milliseconds from request to checked answer
-- @column p95_latency_ms: 95 of 100 calls took no longer, in milliseconds
WITH calls AS (
  SELECT call_id, called_at, agent, prompt, model, status, input_tokens, output_tokens, cost_usd, latency_ms
  FROM argo.llm_usage
  QUALIFY ROW_NUMBER() OVER (PARTITION BY call_id ORDER BY called_at) = 1
)
SELECT
  DATE(called_at) AS day,
  agent,
  prompt,
  model,
  COUNT(*) AS calls,
  COUNTIF(status NOT IN ('ok', 'repaired')) AS failed,
  COUNTIF(status = 'repaired') AS repaired,
  SUM(input_tokens) AS input_tokens,
  SUM(output_tokens) AS output_tokens,
  SUM(cost_usd) AS cost_usd,
  AVG(latency_ms) AS mean_latency_ms,
  APPROX_QUANTILES(latency_ms, 100)[OFFSET(95)] AS p95_latency_ms
FROM calls
GROUP BY day, agent, prompt, model
