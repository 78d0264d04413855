"""The program that `pulumi up` runs: one stack of the topology."""

import pulumi
from infra.settings import Place, read_settings
from infra.stack import StackBuilder

from schemas import topology

named = topology.load()
place = Place(project=pulumi.Config("gcp").require("project"), region=named.region, stack=pulumi.get_stack())
StackBuilder(place, read_settings(pulumi.Config("argo")), named).build()
