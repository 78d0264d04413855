"""One port per outside system, each with its recording fake beside it. Nothing else opens a connection."""
