"""What a model wrote runs only when it can read one person's rows and change nothing: SQL and Cypher, deny by default."""

from __future__ import annotations

import pytest

from agents.tools.guards import Refused, cypher_guard, sql_guard

USER = "(u:User {userId: $userId})"
EVENTS = f"MATCH {USER}-[:STARTED]->(s:Session)-[:CONTAINS]->(e:Event)"


@pytest.mark.parametrize(
    ("sql", "relations"),
    [
        ("SELECT event_type, COUNT(*) AS n FROM events GROUP BY event_type ORDER BY n DESC LIMIT 10", ["events"]),
        (
            "SELECT p.product_id AS p FROM events e, UNNEST(e.products) p JOIN products USING (product_id)",
            ["events", "products"],
        ),
        ("SELECT text FROM tickets WHERE LOWER(text) LIKE '%late%'; -- the end", ["tickets"]),
        ("WITH mine AS (SELECT * FROM recommended) SELECT COUNT(*) AS n FROM mine", ["recommended"]),
        ("WITH events AS (SELECT 1 AS a) SELECT a FROM events", []),
        ("SELECT 'DROP TABLE argo.actions; --' AS words", []),
    ],
)
def test_a_question_about_the_person_passes(sql: str, relations: list[str]) -> None:
    """Prevents: a guard that keeps everything out and calls it safety."""
    assert list(sql_guard.check(sql).relations) == relations


@pytest.mark.parametrize("name", sorted(set(sql_guard.read_relations()) - sql_guard.SHARED))
def test_every_relation_that_is_not_shared_holds_one_person_by_construction(name: str) -> None:
    """Prevents: a relation that somebody adds without its person."""
    checked = sql_guard.check(f"SELECT COUNT(*) AS n FROM {name}").sql  # a name of our own
    inside = checked[checked.index(f"{name} AS (") : checked.rindex("\n(\n")]
    inside = " ".join(inside.split())
    own = "WHERE ( COALESCE(user_id, anonymous_id) = @user_id OR COALESCE(user_id, anonymous_id) IN "
    own += "(SELECT id FROM argo.identities WHERE person_id = @user_id) ) AND "
    assert ("WHERE user_id = @user_id" in inside) != (own in inside)
    assert inside.replace(own, "").count("argo.") == 1


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "x" * 5000,
        "SELECT * FROM argo.user_interactions",
        "SELECT * FROM user_interactions",
        "SELECT * FROM `argo.user_interactions`",
        "SELECT * FROM `other-project.argo.actions`",
        "SELECT * FROM INFORMATION_SCHEMA.TABLES",
        "SELECT * FROM `region-us`.INFORMATION_SCHEMA.JOBS",
        "SELECT 1; DROP TABLE x",
        "SELECT 1; SELECT 2",
        "DROP TABLE events",
        "DELETE FROM events WHERE TRUE",
        "UPDATE events SET event_type = 'x' WHERE TRUE",
        "INSERT INTO events (event_id) VALUES ('x')",
        "MERGE events USING tickets ON FALSE WHEN MATCHED THEN DELETE",
        "CREATE TABLE t AS SELECT 1 AS a",
        "CREATE TEMP FUNCTION f() AS (1); SELECT f()",
        "EXPORT DATA OPTIONS(uri='gs://x/*') AS SELECT 1 AS a",
        "EXECUTE IMMEDIATE 'SELECT 1'",
        "CALL x()",
        "BEGIN SELECT 1; END",
        "DECLARE a INT64; SELECT a",
        "SELECT * FROM EXTERNAL_QUERY('connection', 'SELECT 1')",
        "SELECT * FROM ML.PREDICT(MODEL m, TABLE events)",
        "SELECT SESSION_USER() AS who",
        "SELECT ERROR('stop') AS e",
        "SELECT @other AS o",
        "SELECT @@project_id AS o",
        "SELECT * FROM events FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r",
        "SELECT x FROM UNNEST(GENERATE_ARRAY(1, 1000000000)) AS x",
        "SELECT REPEAT('x', 1000000000) AS x",
        "SELECT event_id FROM events) UNION ALL (SELECT action_id FROM argo.actions",
        "SELECT 1 AS a /*",
        "SELECT '\ud800' AS a",
        "\0",
        "SELECT no_such_column FROM events",
    ],
)
def test_everything_else_is_refused_with_a_reason(sql: str) -> None:
    """Prevents: other people's rows, changes, and answers about the service itself."""
    with pytest.raises(Refused, match=r"\w{3}"):
        sql_guard.check(sql)


@pytest.mark.parametrize(
    "cypher",
    [
        f"{EVENTS} RETURN e.type AS type, count(*) AS n ORDER BY n DESC LIMIT 10",
        f"{EVENTS} WHERE e.type IN ['page', 'view'] AND NOT e.at STARTS WITH '2025' RETURN e.at LIMIT 200",
        f"{EVENTS} OPTIONAL MATCH (e)-[:ON]->(p:Product)-[:IN]->(c) RETURN p.name, collect(DISTINCT c.name) AS c LIMIT 5",
        f"match {USER}-[r:STARTED]->(s) return s.startTime limit 1",
        f"MATCH {USER}, (u)-[:STARTED]->(s) WHERE s.startTime >= 'MATCH (n)' RETURN count(s) LIMIT 1",
    ],
)
def test_a_walk_outwards_from_the_person_passes(cypher: str) -> None:
    """Prevents: a guard that keeps everything out and calls it safety."""
    assert cypher_guard.check(cypher) == cypher


@pytest.mark.parametrize(
    "cypher",
    [
        "",
        "MATCH (u:User) RETURN u LIMIT 1",
        "MATCH (u:User {userId: 'somebody'}) RETURN u LIMIT 1",
        "MATCH (u:User {userId: $other}) RETURN u LIMIT 1",
        "MATCH (u:User {userid: $userId}) RETURN u LIMIT 1",
        "MATCH (s:Session) RETURN s LIMIT 1",
        f"MATCH {USER} MATCH (x:User) RETURN x LIMIT 1",
        f"MATCH {USER}, (x:User) RETURN x LIMIT 1",
        f"MATCH {USER}-[:STARTED]->(s)<-[:STARTED]-(o) RETURN o LIMIT 1",
        f"MATCH {USER}-[:STARTED]->(o:User) RETURN o LIMIT 1",
        f"MATCH {USER}-[:STARTED]-(s) RETURN s LIMIT 1",
        f"MATCH {USER}-[*1..9]->(x) RETURN x LIMIT 1",
        f"MATCH {USER}-[:STARTED*2]->(x) RETURN x LIMIT 1",
        f"MATCH {USER}-->(x) RETURN x LIMIT 1",
        f"MATCH {USER}-[:KNOWS]->(x) RETURN x LIMIT 1",
        f"MATCH p = {USER}-[:STARTED]->(s) RETURN p LIMIT 1",
        f"MATCH {USER} RETURN [(u)-->(p)<--(o) | o] LIMIT 1",
        f"MATCH {USER} RETURN COUNT {{ (a)--(b) }} LIMIT 3",
        f"MATCH {USER} WHERE EXISTS {{ MATCH (z:User) }} RETURN u LIMIT 1",
        f"MATCH {USER} WHERE (u)--() RETURN u LIMIT 1",
        f"MATCH {USER} WHERE ()-->() RETURN u LIMIT 1",
        f"MATCH {USER} DETACH DELETE u",
        f"MATCH {USER} SET u.name = 'x' RETURN u LIMIT 1",
        f"MATCH {USER} CREATE (x:User) RETURN x LIMIT 1",
        f"MERGE {USER} RETURN u LIMIT 1",
        f"MATCH {USER} RETURN u LIMIT 10000",
        f"MATCH {USER} RETURN u LIMIT 0",
        f"MATCH {USER} RETURN u",
        f"MATCH {USER} RETURN u LIMIT 1; MATCH (n) RETURN n",
        f"MATCH {USER} RETURN u LIMIT 1 UNION MATCH (n) RETURN n LIMIT 1",
        f"MATCH {USER} RETURN u UNION MATCH (n) RETURN n LIMIT 1",
        f"MATCH {USER} // words\nRETURN u LIMIT 1",
        f"MATCH {USER} /* words */ RETURN u LIMIT 1",
        f"MATCH {USER} RETURN `u` LIMIT 1",
        f"MATCH {USER} WHERE u.name = 'a\\u0027b' RETURN u LIMIT 1",
        f"MATCH {USER}-[:STARTED]->(s) WITH s MATCH (u)-[:STARTED]->(z) RETURN z LIMIT 1",
        f"MATCH {USER}-[:STARTED]->(s) WHERE true WITH s MATCH (u)-[:STARTED]->(z) RETURN z LIMIT 1",
        f"MATCH {USER}-[:STARTED]->(s) WHERE 1 . WITH s MATCH (u)-[:STARTED]->(z) RETURN z LIMIT 1",
        f"MATCH {USER} UNWIND range(1, 1000000000) AS x RETURN x LIMIT 1",
        f"MATCH {USER} RETURN reduce(x = 0, n IN [1] | x) LIMIT 1",
        f"MATCH {USER} RETURN apoc.load.json('http://x') LIMIT 1",
        f"MATCH {USER} RETURN properties(other) LIMIT 1",
        f"MATCH {USER} FOREACH (x IN [1] | SET u.a = x) RETURN u LIMIT 1",
        "CALL db.labels()",
        "LOAD CSV FROM 'http://x' AS line RETURN line LIMIT 1",
        f"{EVENTS}-[:ON]->(p)-[:IN]->(c)-[:IN]->(d) RETURN d LIMIT 1",
        " ".join([f"MATCH {USER}", *["MATCH (u)-[:STARTED]->(s)"] * 5, "RETURN s LIMIT 1"]),
    ],
)
def test_every_other_walk_is_refused_with_a_reason(cypher: str) -> None:
    """Prevents: walks to other people, changes, and questions without an end."""
    with pytest.raises(Refused, match=r"\w{3}"):
        cypher_guard.check(cypher)
