"""The exceptions with a meaning. Anything else that is raised means: try again."""


class TryAgain(Exception):
    """Not now, and nothing is wrong: somebody else is at work, or something is still on its way."""


class Poison(Exception):
    """This message can never be handled; it is kept with this reason and not tried again."""


class StepFailed(Exception):
    """An agent's honest no: the step has failed for this reason, and trying again would not change it."""
