-- What was recommended to the person.
SELECT recommendation_id, served_at, channel, product_id, reason
FROM argo.recommendations
WHERE user_id = @user_id
QUALIFY ROW_NUMBER() OVER (PARTITION BY recommendation_id ORDER BY served_at) = 1
