"""Who may do what: identities, roles, and where a secret's value may be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from policy.graph import Graph, Resource

BASIC = {"roles/owner", "roles/editor", "roles/viewer", "roles/browser"}
EVERYBODY = {"allUsers", "allAuthenticatedUsers"}
# Google knows no smaller thing to grant these on (infra/access.py says why); a role of our own is listed by its suffix.
PROJECT_WIDE = {"roles/bigquery.jobUser", "roles/bigquery.readSessionUser", "roles/datastore.user"}
_ADMIN = re.compile(r"(?i)\.(admin|owner)$|Admin$|serviceAccountTokenCreator|serviceAccountUser")
_SECRET_NAME = re.compile(r"(?i)password|secret|token|credential|(^|_)key$|api_?key")
_SAFE_SECRET_NAMES = {"SECRET_MANAGER_ENDPOINT"}


def find_grants(graph: Graph) -> Iterator[Resource]:
    """Every IAM grant of the stack."""
    return (entry for entry in graph.resources if entry.kind.lower().endswith("iammember"))


def no_basic_roles(graph: Graph) -> Iterator[str]:
    """Owner, editor and viewer reach everything that will ever be in the project."""
    return (f"{entry.name} grants {entry.get('role')}" for entry in find_grants(graph) if entry.get("role") in BASIC)


def no_administrators(graph: Graph) -> Iterator[str]:
    """Nothing that runs may change rights, or become somebody else."""
    return (
        f"{entry.name} grants {entry.get('role')}"
        for entry in find_grants(graph)
        if _ADMIN.search(str(entry.get("role")))
    )


def grants_are_additive(graph: Graph) -> Iterator[str]:
    """A binding or a policy takes away what others were granted."""
    return (
        f"{entry.name} is a {entry.kind}"
        for entry in graph.resources
        if re.search(r"(?i)iam(binding|policy)$", entry.kind)
    )


def no_account_keys(graph: Graph) -> Iterator[str]:
    """A key file is a password that nobody rotates."""
    return (f"{entry.name} makes a key" for entry in graph.of("serviceaccount/Key", "storage/HmacKey"))


def runs_as_itself(graph: Graph) -> Iterator[str]:
    """Each function and job has an account of its own, never the project's default one."""
    owners = {
        entry.name: entry.get("template.serviceAccount") or entry.get("template.template.serviceAccount")
        for entry in graph.of("cloudrunv2/Service", "cloudrunv2/Job")
    }
    known = {f"{entry.get('accountId')}@{graph.project}.iam.gserviceaccount.com" for entry in accounts(graph)}
    yield from (f"{name} runs as {account}" for name, account in owners.items() if account not in known)
    shared = [account for account, count in Counter(owners.values()).items() if count > 1]
    yield from (f"{account} is shared" for account in shared)


def accounts(graph: Graph) -> Iterator[Resource]:
    """Every service account."""
    return graph.of("serviceaccount/Account")


def invokers_do_one_thing(graph: Graph) -> Iterator[str]:
    """An account that starts or pushes may call exactly one thing, and do nothing else."""
    for account in accounts(graph):
        if not str(account.get("accountId")).startswith(("push-", "start-")):
            continue
        member = f"serviceAccount:{account.get('accountId')}@{graph.project}.iam.gserviceaccount.com"
        roles = [entry.get("role") for entry in find_grants(graph) if entry.get("member") == member]
        if roles != ["roles/run.invoker"]:
            yield f"{account.name} holds {roles}"


def project_grants_are_few(graph: Graph) -> Iterator[str]:
    """On the project only what cannot be granted on less, and Firestore's only with a condition."""
    own = {f"projects/{graph.project}/roles/{entry.get('roleId')}" for entry in graph.of("projects/IAMCustomRole")}
    for entry in graph.of("projects/IAMMember"):
        role = entry.get("role")
        if role not in PROJECT_WIDE | own:
            yield f"{entry.name} grants {role} on the whole project"
        if role == "roles/datastore.user" and not entry.get("condition.expression"):
            yield f"{entry.name} reaches every database"


def own_roles_are_small(graph: Graph) -> Iterator[str]:
    """A role of our own exists to be smaller than Google's."""
    for entry in graph.of("projects/IAMCustomRole"):
        permissions: list[str] = entry.get("permissions") or []
        wrong = [name for name in permissions if "*" in name or "setIamPolicy" in name or "actAs" in name]
        if wrong or not 0 < len(permissions) <= 5:
            yield f"{entry.name} holds {permissions}"


def agents_are_googles(graph: Graph) -> Iterator[str]:
    """Rights go to accounts of this project and to Google's agents, never to a person or a stranger."""
    known = {
        f"serviceAccount:{entry.get('accountId')}@{graph.project}.iam.gserviceaccount.com" for entry in accounts(graph)
    }
    agent = re.compile(
        r"^serviceAccount:(service-\d+@(gcp-sa-[a-z]+|gs-project-accounts|compute-system)|bq-\d+@bigquery-encryption)"
        r"\.iam\.gserviceaccount\.com$"
    )
    for entry in find_grants(graph):
        member = str(entry.get("member"))
        if member not in known | EVERYBODY and not agent.match(member):
            yield f"{entry.name} grants to {member}"


def no_secret_values(graph: Graph) -> Iterator[str]:
    """A value in the program is a value in its state, its logs and everybody's terminal."""
    yield from (f"{entry.name} holds a value" for entry in graph.of("secretmanager/SecretVersion"))
    for entry in graph.of("cloudrunv2/Service", "cloudrunv2/Job"):
        for variable in find_variables(entry):
            name = str(variable.get("name"))
            if _SECRET_NAME.search(name) and name not in _SAFE_SECRET_NAMES:
                yield f"{entry.name} is told {name}"
            if re.search(r"://[^/@]*:[^/@]+@", str(variable.get("value"))):
                yield f"{entry.name} has a password in {name}"


def find_variables(entry: Resource) -> list[dict[str, str]]:
    """The variables of a function's or job's container."""
    return entry.get("template.containers.0.envs") or entry.get("template.template.containers.0.envs") or []


def pushes_carry_an_identity(graph: Graph) -> Iterator[str]:
    """An unsigned push could come from anybody; an audience other than the function's own could be replayed elsewhere."""
    for entry in graph.of("pubsub/Subscription"):
        endpoint = entry.get("pushConfig.pushEndpoint")
        if endpoint is None:
            continue
        audience = entry.get("pushConfig.oidcToken.audience")
        if not str(endpoint).startswith("https://"):
            yield f"{entry.name} pushes to {endpoint}"
        if not entry.get("pushConfig.oidcToken.serviceAccountEmail") or not audience:
            yield f"{entry.name} pushes without an identity"
        elif not str(endpoint).startswith(str(audience)):
            yield f"{entry.name} pushes to {endpoint} for {audience}"


def schedules_carry_an_identity(graph: Graph) -> Iterator[str]:
    """Google's own API takes an access token, and only of the account that may start this one job."""
    for entry in graph.of("cloudscheduler/Job"):
        email = entry.get("httpTarget.oauthToken.serviceAccountEmail")
        if not email or not str(email).startswith("start-") or entry.get("httpTarget.oidcToken"):
            yield f"{entry.name} calls as {email}"


def secret_reads_are_logged(graph: Graph) -> Iterator[str]:
    """After a leak somebody must be able to say who has read the value."""
    logged = {
        entry.get("service")
        for entry in graph.of("projects/IAMAuditConfig")
        if "DATA_READ" in {part.get("logType") for part in entry.get("auditLogConfigs") or []}
    }
    if list(graph.of("secretmanager/Secret")) and not logged & {"secretmanager.googleapis.com", "allServices"}:
        yield "nobody logs who reads a secret"


RULES = (
    secret_reads_are_logged,
    no_basic_roles,
    no_administrators,
    grants_are_additive,
    no_account_keys,
    runs_as_itself,
    invokers_do_one_thing,
    project_grants_are_few,
    own_roles_are_small,
    agents_are_googles,
    no_secret_values,
    pushes_carry_an_identity,
    schedules_carry_an_identity,
)
