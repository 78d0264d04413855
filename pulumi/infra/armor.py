"""Cloud Armor's policies as values: what is refused at the load balancer, and what is only written down there.

Rules and their names: https://cloud.google.com/armor/docs/waf-rules; rates:
https://cloud.google.com/armor/docs/rate-limiting-overview
"""

from __future__ import annotations

import pulumi_gcp as gcp

_LAST_PRIORITY = 2_147_483_647  # Cloud Armor's own default rule
# Signatures of scanners and of broken HTTP refuse. Those of attacks by text are in preview: they log, and refuse nothing,
# because honest events quote what people searched for and wrote, and nothing behind this reads a body as SQL or HTML.
_REFUSED = ("scannerdetection-v33-stable", "protocolattack-v33-stable")
_LOGGED = (
    "sqli-v33-stable",
    "xss-v33-stable",
    "lfi-v33-stable",
    "rfi-v33-stable",
    "rce-v33-stable",
    "cve-canary",
)


def write_rules(requests_per_minute: int, *, per_address: bool) -> list[gcp.compute.SecurityPolicyRuleArgs]:
    """The rules of one policy: signatures, then the rate, of each address or of all together, then everything else."""
    rate = gcp.compute.SecurityPolicyRuleRateLimitOptionsArgs(
        conform_action="allow",
        exceed_action="deny(429)",
        enforce_on_key="IP" if per_address else "ALL",
        rate_limit_threshold=gcp.compute.SecurityPolicyRuleRateLimitOptionsRateLimitThresholdArgs(
            count=requests_per_minute, interval_sec=60
        ),
    )
    everybody = gcp.compute.SecurityPolicyRuleMatchArgs(
        versioned_expr="SRC_IPS_V1",
        config=gcp.compute.SecurityPolicyRuleMatchConfigArgs(src_ip_ranges=["*"]),
    )
    return [
        *(_make_signature(100 + index, name, preview=False) for index, name in enumerate(_REFUSED)),
        *(_make_signature(200 + index, name, preview=True) for index, name in enumerate(_LOGGED)),
        gcp.compute.SecurityPolicyRuleArgs(
            action="throttle",
            priority=1000,
            description=f"So many requests a minute from {'one address' if per_address else 'everybody together'}",
            match=everybody,
            rate_limit_options=rate,
        ),
        gcp.compute.SecurityPolicyRuleArgs(
            action="allow", priority=_LAST_PRIORITY, description="Everything else", match=everybody
        ),
    ]


def _make_signature(priority: int, name: str, *, preview: bool) -> gcp.compute.SecurityPolicyRuleArgs:
    expression = f"evaluatePreconfiguredWaf('{name}', {{'sensitivity': 1}})"
    return gcp.compute.SecurityPolicyRuleArgs(
        action="deny(403)",
        priority=priority,
        preview=preview,
        description=name,
        match=gcp.compute.SecurityPolicyRuleMatchArgs(
            expr=gcp.compute.SecurityPolicyRuleMatchExprArgs(expression=expression)
        ),
    )
