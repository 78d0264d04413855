"""Who a client app's user is: Identity Platform, with Google's accounts once the operator has an OAuth client for them.

The id of a signed-in person is the id under which Firestore's rules let them read their profile. No passwords and no
anonymous accounts: the first would be ours to lose, the second would be a profile for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.settings import Place


@dataclass(frozen=True, kw_only=True)
class SignInArgs:
    """`google_client_id` and its secret come from the console's OAuth client; without them nobody can sign in yet."""

    place: Place
    domain: str
    google_client_id: str
    google_client_secret: pulumi.Output[str] | None


class SignIn(pulumi.ComponentResource):
    """The project's sign-in."""

    def __init__(self, name: str, args: SignInArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("argo:signin:SignIn", name, None, opts)
        if bool(args.google_client_id) != (args.google_client_secret is not None):
            raise ValueError("argo:google_client_id and argo:google_client_secret belong together: set both or none")
        config = gcp.identityplatform.Config(
            "sign-in-config",
            project=args.place.project,
            authorized_domains=[args.domain, f"{args.place.project}.firebaseapp.com"],
            autodelete_anonymous_users=True,
            sign_in=gcp.identityplatform.ConfigSignInArgs(
                allow_duplicate_emails=False,
                anonymous=gcp.identityplatform.ConfigSignInAnonymousArgs(enabled=False),
                email=gcp.identityplatform.ConfigSignInEmailArgs(enabled=False),
            ),
            monitoring=gcp.identityplatform.ConfigMonitoringArgs(
                request_logging=gcp.identityplatform.ConfigMonitoringRequestLoggingArgs(enabled=True)
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        if args.google_client_secret is not None:
            gcp.identityplatform.DefaultSupportedIdpConfig(
                "sign-in-google",
                project=args.place.project,
                idp_id="google.com",
                enabled=True,
                client_id=args.google_client_id,
                client_secret=args.google_client_secret,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[config]),
            )
        self.register_outputs({})
