-- What was told of an episode, the last first. By notices_incident.
SELECT n.key::text AS key, n.channel, n.number, n.kind, n.state, n.verdict, n.tries, n.problem, n.created_at, n.settled_at
FROM notices AS n WHERE n.incident = $1 AND n.episode = $2 ORDER BY n.number DESC, n.channel DESC LIMIT $3
