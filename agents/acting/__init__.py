"""The acting arm: an approved action becomes one message to one person, or a reason why not, exactly once in effect."""
