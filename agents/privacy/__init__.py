"""Suppression and deletion of a person: what is asked (regulations), who that is, and each store's part in forgetting."""
