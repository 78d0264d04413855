"""The thinking: the swarm, the recommender, and the ports to every store (`agents.tools`). No triggers here."""
