"""The cloud's components. Each takes one frozen, keyword-only dataclass and builds its part of the topology."""
