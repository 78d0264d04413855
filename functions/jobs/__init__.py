"""Scheduled jobs, one module each with `run()`; the topology names them. `python -m functions.jobs NAME` runs one."""
