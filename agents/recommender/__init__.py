"""The recommender: candidates (warehouse), paths (graph), then one choice with its reason (model).

`agents.recommender.service.recommend(user_id, context, ports) -> Choice` is the way in.
"""
