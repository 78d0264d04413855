"""What happened and why, read back from the record: a task as a timeline, and as a page for people."""
