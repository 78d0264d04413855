// Why would this person want one of these candidates? From each of the person's latest products, over other visits with
// it, to the candidates that occurred in the same visit. Bounded: the latest products ($recentLimit), the latest events
// with each ($eventLimit), the 40 best supported candidates. A link counts by the share of its product's visits (5 more
// against chance), and the sum is damped by the candidate's popularity, so that what goes with everything does not win.
// Two matches where one would read as well: a match never uses an edge twice, and most often both events are the same.
MATCH (user:User {userId: $userId})-[:STARTED]->(:Session)-[:CONTAINS]->(mine:Event)
WHERE NOT mine.type IN $ignoredTypes
WITH mine
ORDER BY mine.at DESC
LIMIT $recentLimit
MATCH (mine)-[:ON]->(recent:Product)
WITH recent, max(mine.at) AS lastAt
ORDER BY lastAt DESC, recent.productId
LIMIT $recentLimit
MATCH (recent)<-[:ON]-(first:Event)
WHERE NOT first.type IN $ignoredTypes
WITH recent, first
ORDER BY first.at DESC
WITH recent, collect(first)[..$eventLimit] AS firsts
WITH recent, firsts, size(firsts) AS visits
UNWIND firsts AS first
MATCH (first)<-[:CONTAINS]-(session:Session)
MATCH (session)-[:CONTAINS]->(second:Event)-[:ON]->(candidate:Product)
WHERE NOT second.type IN $ignoredTypes
WITH
  recent, visits, candidate,
  count(DISTINCT session) AS together,
  count(DISTINCT CASE WHEN first.key = second.key AND first.type = 'order_completed' THEN first.key END) AS orders
WHERE candidate.productId IN $candidateIds AND candidate.productId <> recent.productId
WITH recent, candidate, together, orders, 1.0 * together / (visits + 5) AS strength
ORDER BY strength DESC, recent.productId
WITH
  candidate,
  sum(strength) AS support,
  collect({fromName: coalesce(recent.name, recent.productId), together: together, orders: orders})[..3] AS links
ORDER BY support DESC
LIMIT 40
RETURN
  candidate.productId AS productId,
  coalesce(candidate.name, candidate.productId) AS name,
  links,
  support / sqrt(COUNT { (candidate)<-[:ON]-(:Event) }) AS score
ORDER BY score DESC, productId
