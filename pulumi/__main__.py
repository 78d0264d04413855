"""The program that `pulumi up` runs: one stack of the topology."""

import pulumi
from infra.settings import Place, read_settings
from infra.stack import StackBuilder

from schemas import topology

config = pulumi.Config("argo")
named = topology.load()
place = Place(project=pulumi.Config("gcp").require("project"), region=named.region, stack=pulumi.get_stack())
secret = config.get_secret("google_client_secret")
StackBuilder(place, read_settings(config), named, google_client_secret=secret).build()
