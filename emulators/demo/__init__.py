"""`make demo`: real shop events through the whole loop, followed from store to store, and a report of what was seen."""
