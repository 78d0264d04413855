"""The one exception with a meaning at the edge. Anything else that is raised means: try again."""


class Poison(Exception):
    """This message can never be handled; it is kept with this reason and not tried again."""
