"""Schemathesis over the server's own OpenAPI: whatever is sent, no answer is a 5xx, and each has the shape that is promised.

CHAINTUNE_FUZZ_CASES sets how many cases there are at most, over all operations.
"""

import os
import subprocess
import sys

import httpx
import pytest

from tests.apps.server import live

CASES = int(os.environ.get("CHAINTUNE_FUZZ_CASES", "100"))
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.timeout(300 + CASES)
def test_nothing_that_is_sent_breaks_the_server(server_home, tmp_path):
    pytest.importorskip("schemathesis", reason="fuzzing needs schemathesis: pip install 'chaintune[fuzz]'")
    with live.serving(jobs=False, max_batch=8, max_waiting=64) as (url, _):
        paths = httpx.get(f"{url}/openapi.json").json()["paths"]
        each = max(1, CASES // sum(map(len, paths.values())))
        run = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--phases=fuzzing", f"--max-examples={each}",
             f"--checks={CHECKS}", "--suppress-health-check=all", "--no-color", "--request-timeout=60"],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert httpx.get(f"{url}/health").status_code == 200
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
