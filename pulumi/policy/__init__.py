"""What must hold for every stack, whatever the topology says: rules over the recorded graph of a stack.

`record.py` runs the program against mocks, `rules_*.py` judge what it asked for, `golden.py` writes it down for review.
Nothing here needs an account, the network or the `pulumi` command.
"""
