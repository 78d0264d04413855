"""Stub functions for the supervisor's tests."""
