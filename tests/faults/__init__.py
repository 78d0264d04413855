"""Means to inject faults for real, for tests and benchmarks; what they prove is said there."""
