"""Whatever is wrong with a request, its answer is documented, says nothing of our insides, and harms no other."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.conftest import ROWS, Trained
from tests.serving.models import SIGNATURE
from tests.serving.rig import Publisher, Service, service
from tests.serving.rpc.test_clients import TYPES

#: What docs/serving.md has for a request that asks for predictions.
DOCUMENTED = {200, 400, 404, 405, 413, 415, 503, 504}
INSIDE = re.compile(
    r"Traceback|File \"|\.py\b|/work|/tmp|/usr|/root|registry|serving\.|msgspec|numpy|ndarray|Error\("
)
MOST_ROWS, MOST_BYTES = 64, 6_000


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Trained]
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("small")
    publisher = Publisher(folder)
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    limits: dict[str, Any] = {"serving_max_queue_rows": MOST_ROWS, "serving_max_body": MOST_BYTES}
    with service(publisher, folder / "service", "flights", **limits) as running:
        yield running


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)  # fmt: skip


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Some rows, of which columns may be missing, odd or too many; or too many rows."""
    count = draw(st.sampled_from([0, 1, 2, 3, MOST_ROWS + 1, 150]))
    made = [dict(ROWS[i % len(ROWS)]) for i in range(count)]
    for _ in range(draw(st.integers(0, 3)) if made else 0):
        row = draw(st.sampled_from(made[:3]))
        column = draw(st.sampled_from([*ROWS[0], "another"]))
        if draw(st.booleans()):
            row.pop(column, None)
        else:
            row[column] = draw(ODD)
    return made


def tensors(given_rows: list[dict[str, Any]], datatype: str | None, timeout: int | None) -> Any:
    inputs = [
        {
            "name": member.name,
            "datatype": datatype or TYPES[member.type][0],
            "shape": [len(given_rows)],
            "data": [row.get(member.name) for row in given_rows],
        }
        for member in SIGNATURE.inputs
    ]
    return {"inputs": inputs} | (
        {"parameters": {"timeout": timeout}} if timeout is not None else {}
    )


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes, dict[str, str]]:
    """Method, path, body, headers: any combination of faults, or none."""
    given_rows = draw(rows())
    if draw(st.booleans()):
        path, document = "/invocations", {"dataframe_records": given_rows}
    else:
        path = draw(
            st.sampled_from(
                ["/v2/models/flights/infer", "/v2/models/flights/versions/1/infer",
                 "/v2/models/flights/versions/9/infer", "/v2/models/nothing/infer"]
            )
        )  # fmt: skip
        datatype = draw(st.sampled_from([None, None, "FP32", "BYTES", "BOOL", "FP128"]))
        document = tensors(given_rows, datatype, draw(st.sampled_from([None, 0, 1, -5, 10**7])))
    body = json.dumps(document).encode()
    if draw(st.integers(0, 4)) == 0:
        body = body[: draw(st.integers(0, len(body)))] + draw(st.binary(max_size=4))
    types = ["application/json"] * 3 + [
        "text/csv",
        "text/plain",
        "application/json; charset=latin-1",
    ]
    headers = {"Content-Type": draw(st.sampled_from(types))}
    if draw(st.integers(0, 9)) == 0:
        headers["Content-Encoding"] = draw(st.sampled_from(["gzip", "br", "identity"]))
    method = draw(st.sampled_from(["POST"] * 9 + ["PUT", "DELETE", "GET"]))
    return method, path, body, headers


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes, headers: Any
) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer, answer.read()


def check_refusal(path: str, answer: http.client.HTTPResponse, text: bytes) -> None:
    """The answer is an error as documented."""
    document = json.loads(text)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    expected = {"error_code", "message"} if path == "/invocations" else {"error"}
    assert document.keys() == expected
    assert all(isinstance(value, str) and value for value in document.values())
    assert not INSIDE.search(text.decode()), text
    assert len(text) < 2000
    if answer.status == 503:
        assert answer.headers["retry-after"]


@given(request=requests())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_fault_is_answered_as_documented_and_the_next_request_is_right(
    small: Service, bundles: dict[str, Trained], request: tuple[str, str, bytes, dict[str, str]]
) -> None:
    method, path, body, headers = request
    connection = http.client.HTTPConnection(small.address, timeout=60)
    try:
        answer, text = ask(connection, method, path, body, headers)
        assert answer.status in DOCUMENTED, text
        if answer.status != 200:
            check_refusal(path, answer, text)
        # On the same connection, or a new one where this was its last answer.
        good = json.dumps({"dataframe_records": ROWS}).encode()
        answer, text = ask(
            connection, "POST", "/invocations", good, {"Content-Type": "application/json"}
        )
        assert answer.status == 200
        assert json.loads(text)["predictions"] == bundles["lightgbm-1"].answers
    finally:
        connection.close()


def test_nothing_of_that_was_unforeseen(small: Service) -> None:
    assert "request failed" not in small.log
    assert '"log.level":"error"' not in small.log.replace(" ", "")
