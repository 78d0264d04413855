"""Stub jobs for the supervisor's tests."""
