"""The rules for everything that leaves: pure, without a model, the same answer for the same words. docs/guard.md."""
