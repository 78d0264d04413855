// Where do a person's latest products lead when nothing is significant yet, as in a young shop? Over the latest visits with
// each ($eventLimit), to what was in the same visits: by the share of the product's visits (5 more against chance), damped by
// the candidate's popularity. Bounded: $scanLimit events of the products, $rowLimit rows of their visits, $limit candidates.
UNWIND $recent AS start
MATCH (recent:Product {productId: start.productId})<-[:ON]-(event:Event)
WHERE NOT event.type IN $ignoredTypes
WITH start, recent, event
LIMIT $scanLimit
WITH start, recent, event
ORDER BY event.at DESC
WITH start, recent, collect(event)[..$eventLimit] AS events
WITH start, recent, events, size(events) AS visits
UNWIND events AS event
MATCH (event)<-[:CONTAINS]-(session:Session)
MATCH (session)-[:CONTAINS]->(second:Event)-[:ON]->(candidate:Product)
WHERE NOT second.type IN $ignoredTypes AND NOT candidate.productId IN $recentIds
WITH start, recent, visits, event, session, second, candidate
LIMIT $rowLimit
WITH
  start, recent, visits, candidate,
  count(DISTINCT session) AS together,
  count(DISTINCT CASE WHEN event.key = second.key AND event.type = 'order_completed' THEN event.key END) AS orders
WITH recent, candidate, together, orders, start.weight * together / (visits + 5) AS strength
ORDER BY strength DESC, recent.productId
WITH
  candidate,
  sum(strength) AS support,
  collect({
    fromId: recent.productId,
    fromName: coalesce(recent.name, recent.productId),
    kind: CASE WHEN orders > 0 THEN 'BOUGHT_WITH' ELSE 'VIEWED_WITH' END,
    count: CASE WHEN orders > 0 THEN orders ELSE together END
  })[..3] AS links
ORDER BY support DESC, candidate.productId
LIMIT $limit
RETURN
  candidate.productId AS productId,
  coalesce(candidate.name, candidate.productId) AS name,
  support / sqrt(COUNT { (candidate)<-[:ON]-(:Event) }) AS score,
  links
ORDER BY score DESC, productId
