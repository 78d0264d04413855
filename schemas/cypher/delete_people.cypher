// People by everything that they are known by ($ids).
MATCH (user:User)
WHERE user.userId IN $ids
WITH collect(user) AS people
WITH people, size(people) AS count
FOREACH (user IN people | DETACH DELETE user)
RETURN count
