"""Run an operator of google-cloud-pipeline-components as its container would, with a service of this machine.

    python -m pipeline.tests.google_task URL MODULE ARGUMENTS…

The operators ask https://LOCATION-aiplatform.googleapis.com with the credentials of their machine and look at an
operation every 20 seconds; here they ask URL, without, at once. All else is their own.
"""

import re
import runpy
import sys
from types import SimpleNamespace
from typing import Any

import google.auth
import requests
from google_cloud_pipeline_components.container.v1.gcp_launcher import lro_remote_runner

OF_GOOGLE = r"https://[a-z0-9-]+-aiplatform\.googleapis\.com(?=/)"


MAILING = "google_cloud_pipeline_components.container.v1.vertex_notification_email.executor"


def main(url: str, module: str, *arguments: str) -> None:
    """Run an operator's module; that of e-mails is the service's own work, and its module only says so."""
    if module == MAILING:
        print("mailed", *arguments)
        return
    send = requests.api.request

    def here(method: str, address: str, **options: Any) -> requests.Response:
        return send(method, re.sub(OF_GOOGLE, url, address), **options)

    requests.api.request = here
    google.auth.default = lambda *_, **__: (SimpleNamespace(valid=True, token="of-the-tests"), "demo")
    lro_remote_runner._POLLING_INTERVAL_IN_SECONDS = 0.01
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
