"""The cloud's program, run against mocks: no account, no network, no `pulumi` command."""
