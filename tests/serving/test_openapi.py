"""The document, the pages and their lines to paste; and schemathesis, which asks all it describes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.serving.conftest import Trained
from tests.serving.models import SIGNATURE
from tests.serving.rig import Service

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "docs/serving.md", ROOT / "docs/how-to/serve.md"]
#: Requests that schemathesis makes of each endpoint.
EXAMPLES = 5
#: A schema cannot say that a tensor has as many values as its shape, so some valid requests are
#: refused; that none of the invalid ones is accepted is checked.
LEFT_OUT: Any = [positive_data_acceptance]
#: More rows than a queue holds are refused by 413, which its list of refusals lacks.
JUDGE = SchemathesisConfig.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": ["4xx"]}}}
)


@pytest.fixture(scope="module")
def document(shared: Service) -> dict[str, Any]:
    made: dict[str, Any] = shared.get("/openapi.json").json()
    return made


def test_it_names_the_inputs_and_a_golden_row(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    infer = document["paths"]["/v2/models/flights/infer"]["post"]
    body = infer["requestBody"]["content"]["application/json"]
    described = body["schema"]["properties"]["inputs"]["items"]["anyOf"]
    assert [each["properties"]["name"]["const"] for each in described] == list(SIGNATURE.names)
    example = {each["name"]: each["data"][0] for each in body["example"]["inputs"]}
    assert example == {"distance": -2.0, "hour": 0, "carrier": "AA"}


def test_its_examples_are_answered(shared: Service, document: dict[str, Any]) -> None:
    asked = 0
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        for kind, body in content.items():
            if "example" not in body:
                continue
            data = body["example"] if kind == "text/csv" else json.dumps(body["example"])
            answer = shared.client.post(
                shared.url + path, content=data.encode(), headers={"content-type": kind}
            )
            assert answer.status_code == 200, (path, kind, answer.text)
            asked += 1
    assert asked == 4


def test_every_path_that_is_read_is_there(shared: Service, document: dict[str, Any]) -> None:
    reads = [path for path, methods in document["paths"].items() if "get" in methods]
    assert {path: shared.get(path).status_code for path in reads} == dict.fromkeys(reads, 200)


def blocks(page: str) -> list[str]:
    return [unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]


def test_the_lines_of_the_guide_can_be_pasted(shared: Service, bundles: dict[str, Trained]) -> None:
    page = shared.get("/docs").text
    assert "src=" not in page
    assert "https://" not in page
    *curls, python = blocks(page)
    answers = []
    for line in curls:
        assert line.startswith("curl ")
        out = subprocess.run(["bash", "-c", line], capture_output=True, check=True, timeout=60)
        answers.append(json.loads(out.stdout))
    assert len(answers) == 3
    expected = bundles["lightgbm-1"].answers[0]
    assert answers[0]["outputs"][0]["data"] == [expected]
    assert [answer["predictions"] for answer in answers[1:]] == [[expected]] * 2
    ran = subprocess.run([sys.executable, "-c", python], capture_output=True, check=True, text=True)
    assert float(ran.stdout.strip("[]\n")) == pytest.approx(expected, rel=1e-6)


def test_the_lines_of_the_documentation_can_be_pasted(shared: Service) -> None:
    """As they stand, but for the port."""
    text = "\n".join(page.read_text() for page in DOCS)
    lines = [line for line in text.splitlines() if line.startswith("curl ")]
    assert len(lines) >= 6
    for line in lines:
        command = line.replace("127.0.0.1:8080", shared.address).replace("curl ", "curl -f ", 1)
        out = subprocess.run(["bash", "-c", command], check=False, capture_output=True, timeout=60)
        assert out.returncode == 0, (line, out)
        assert out.stdout


def modes(operation: Any) -> list[GenerationMode]:
    """Only where there is a body can a request be wrong."""
    return list(GenerationMode) if operation.body else [GenerationMode.POSITIVE]


def ask(url: str, operation: Any, mode: GenerationMode, session: requests.Session) -> None:
    """Make requests of one endpoint and check every answer."""

    @settings(
        max_examples=EXAMPLES if operation.body else 3,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate(url, session=session, excluded_checks=LEFT_OUT, timeout=60)

    check()


def ask_everything(service: Service) -> list[str]:
    """Make requests of every endpoint that a service describes; these."""
    schema = schemathesis.openapi.from_dict(service.get("/openapi.json").json(), config=JUDGE)
    with requests.Session() as session:
        # The environment may name proxies.
        session.trust_env = False
        asked = []
        operations: Any = schema.get_all_operations()
        for found in operations:
            operation = found.ok()
            asked.append(f"{operation.method} {operation.path}")
            for mode in modes(operation):
                ask(service.url, operation, mode, session)
    return asked


def test_schemathesis_finds_nothing(shared: Service) -> None:
    """Status codes, types and bodies are as described; invalid requests are refused; no 500."""
    assert len(ask_everything(shared)) > 20
    assert shared.ready
