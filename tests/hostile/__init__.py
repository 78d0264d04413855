"""Hostile input over the wire: values, requests and deliveries to send, and what is never acceptable (campaign.py)."""
