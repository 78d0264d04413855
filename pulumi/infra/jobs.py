"""Cloud Run jobs of the same image, and Cloud Scheduler that starts each by its cron line in UTC; without one, a person does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.functions import Surroundings, choose_tags, describe_environment
from infra.naming import dashed
from schemas.topology import Job


@dataclass(frozen=True, kw_only=True)
class JobArgs:
    """`account` is who the job is, `starter` who may start it by its schedule, if it has one."""

    around: Surroundings
    job: Job
    account: gcp.serviceaccount.Account
    starter: gcp.serviceaccount.Account | None
    addresses: Mapping[str, pulumi.Output[str]]


class ScheduledJob(pulumi.ComponentResource):
    """One job, and its schedule if it has one."""

    def __init__(self, name: str, args: JobArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:jobs:ScheduledJob", name, None, opts)
        around, job = args.around, args.job
        self.job = gcp.cloudrunv2.Job(
            f"job-{job.name}",
            name=dashed(job.name),
            project=around.place.project,
            location=around.place.region,
            deletion_protection=around.settings.protect_data,
            labels={**around.place.labels, "job": dashed(job.name)},
            template=gcp.cloudrunv2.JobTemplateArgs(task_count=1, parallelism=1, template=_make_template(args)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        if args.starter:
            self._schedule(args, args.starter)
        self.register_outputs({})

    def _schedule(self, args: JobArgs, starter: gcp.serviceaccount.Account) -> None:
        place, job = args.around.place, args.job
        may_start = gcp.cloudrunv2.JobIamMember(
            f"start-{job.name}",
            project=place.project,
            location=place.region,
            name=self.job.name,
            role="roles/run.invoker",
            member=starter.member,
            opts=pulumi.ResourceOptions(parent=self),
        )
        path = f"projects/{place.project}/locations/{place.region}/jobs/{dashed(job.name)}:run"
        gcp.cloudscheduler.Job(
            f"schedule-{job.name}",
            name=dashed(job.name),
            project=place.project,
            region=place.region,
            description=job.description,
            schedule=job.schedule,
            time_zone="Etc/UTC",
            attempt_deadline="180s",
            retry_config=gcp.cloudscheduler.JobRetryConfigArgs(retry_count=3, min_backoff_duration="10s"),
            http_target=gcp.cloudscheduler.JobHttpTargetArgs(
                uri=f"https://run.googleapis.com/v2/{path}",
                http_method="POST",
                # A Google API takes an access token; an identity token is for services of one's own.
                oauth_token=gcp.cloudscheduler.JobHttpTargetOauthTokenArgs(
                    service_account_email=starter.email, scope="https://www.googleapis.com/auth/cloud-platform"
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[may_start]),
        )


def _make_template(args: JobArgs) -> gcp.cloudrunv2.JobTemplateTemplateArgs:
    around, job = args.around, args.job
    variables = describe_environment(around, job, args.addresses)
    container = gcp.cloudrunv2.JobTemplateTemplateContainerArgs(
        image=around.image,
        # Cloud Run knows no underscore, so its own CLOUD_RUN_JOB is not the name by which the code finds itself in the
        # topology; `env` says the right one to the process that it becomes.
        commands=["/usr/bin/env"],
        args=[f"CLOUD_RUN_JOB={job.name}", "python", "-m", "functions.jobs", job.name],
        envs=[
            gcp.cloudrunv2.JobTemplateTemplateContainerEnvArgs(name=name, value=value)
            for name, value in sorted(variables.items(), key=lambda pair: pair[0])
        ],
        resources=gcp.cloudrunv2.JobTemplateTemplateContainerResourcesArgs(
            limits={"cpu": str(job.cpu), "memory": f"{job.memory_mib}Mi"}
        ),
    )
    return gcp.cloudrunv2.JobTemplateTemplateArgs(
        service_account=args.account.email,
        timeout=f"{job.timeout_seconds}s",
        # Jobs are safe to repeat; more than once more is the next schedule's. Who runs one by hand is told of its failure,
        # and not of a second try that found nothing because the first had just given everything back.
        max_retries=1 if job.schedule else 0,
        execution_environment="EXECUTION_ENVIRONMENT_GEN2",
        vpc_access=_make_network(around, job),
        containers=[container],
    )


def _make_network(around: Surroundings, job: Job) -> gcp.cloudrunv2.JobTemplateTemplateVpcAccessArgs | None:
    network, tags = around.network, choose_tags(around, job)
    if not tags:
        return None
    interface = gcp.cloudrunv2.JobTemplateTemplateVpcAccessNetworkInterfaceArgs(
        network=network.network.name, subnetwork=network.subnet.name, tags=tags
    )
    return gcp.cloudrunv2.JobTemplateTemplateVpcAccessArgs(egress="PRIVATE_RANGES_ONLY", network_interfaces=[interface])
