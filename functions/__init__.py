"""Triggers: one thin module per entry point. Decode, call one thing, map the outcome. No thinking here."""
