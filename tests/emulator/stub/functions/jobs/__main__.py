"""A job that tells its name and where Pub/Sub is, and ends with 7."""

import os
import sys

print(sys.argv[1], os.environ["CLOUD_RUN_JOB"], os.environ["PUBSUB_EMULATOR_HOST"])
sys.exit(7)
