"""Guards of the tools that a model may call: what it wrote is checked before it runs. Pure functions, deny by default."""


class Refused(ValueError):
    """What the model wrote may not run; the message says why and what to write, and is fit for the model to read."""
