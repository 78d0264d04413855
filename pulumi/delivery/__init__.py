"""From a commit to customers: what Cloud Build runs per branch, the canary that prod releases through, the smoke test."""
