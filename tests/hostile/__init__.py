"""Hostile input: what to send (requests.py, deliveries.py) and what is never acceptable (checks.py)."""
