-- Who an id turned out to be: one row for each id that is not its person's last one. person_id is where the chain of the
-- latest identify (anonymous_id became user_id) and alias (previous_id became user_id) of each id ends, after at most 4
-- links; a circle ends at its smallest id. An id that any event but an alias has as its user_id is a person and is tied to
-- nobody else: whoever knows somebody's user_id could take that person over with one alias or anonymous_id otherwise.
-- To resolve an event: the identity of COALESCE(user_id, anonymous_id), else that id itself.
-- @column id: An anonymous_id, or a user_id that an alias replaced
-- @column person_id: The person that the id turned out to be
-- @column linked_at: When the first link of its chain was made
WITH people AS (
  SELECT DISTINCT user_id FROM argo.user_interactions WHERE user_id IS NOT NULL AND event_type <> 'alias'
),
claims AS (
  SELECT anonymous_id AS from_id, user_id AS to_id, event_timestamp, source, event_id
  FROM argo.user_interactions
  WHERE event_type IN ('identify', 'alias') AND anonymous_id IS NOT NULL AND user_id IS NOT NULL
  UNION ALL
  SELECT previous_id AS from_id, user_id AS to_id, event_timestamp, source, event_id
  FROM argo.user_interactions
  WHERE event_type = 'alias' AND previous_id IS NOT NULL AND user_id IS NOT NULL
),
links AS (
  SELECT claims.from_id AS from_id, claims.to_id AS to_id, claims.event_timestamp AS linked_at
  FROM claims
  LEFT JOIN people ON people.user_id = claims.from_id
  WHERE people.user_id IS NULL AND claims.from_id <> claims.to_id
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY claims.from_id ORDER BY claims.event_timestamp DESC, claims.source, claims.event_id DESC
  ) = 1
),
chains AS (
  SELECT
    first.from_id AS id,
    first.linked_at AS linked_at,
    first.to_id AS to_1,
    COALESCE(second.to_id, first.to_id) AS to_2,
    COALESCE(third.to_id, second.to_id, first.to_id) AS to_3,
    COALESCE(fourth.to_id, third.to_id, second.to_id, first.to_id) AS to_4
  FROM links AS first
  LEFT JOIN links AS second ON second.from_id = first.to_id
  LEFT JOIN links AS third ON third.from_id = second.to_id
  LEFT JOIN links AS fourth ON fourth.from_id = third.to_id
)
SELECT
  id,
  IF(id IN (to_2, to_3, to_4), LEAST(to_1, to_2, to_3, to_4), to_4) AS person_id,
  linked_at
FROM chains
