"""The swarm: playbooks, the orchestrator that runs them, and the agents, which talk only over the bus."""
