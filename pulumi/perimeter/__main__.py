"""The program of the optional perimeter: `pulumi -C pulumi/perimeter up`."""

import pulumi
from boundary import Perimeter, PerimeterArgs

config = pulumi.Config("argo-perimeter")
Perimeter(
    "argo",
    PerimeterArgs(
        access_policy=config.require("access_policy"),
        project_numbers=config.require_object("project_numbers"),
        operators=config.require_object("operators"),
        enforced=config.get_bool("enforced") or False,
    ),
)
