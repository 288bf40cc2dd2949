"""MLflow's own client and frames against a service, in every form that it can send."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pandas
import pytest

from tests.serving.conftest import ROWS, Trained
from tests.serving.models import SIGNATURE
from tests.serving.rig import Service

with warnings.catch_warnings():
    # It warns about type hints of its own while it is imported.
    warnings.simplefilter("ignore")
    from mlflow.deployments import PredictionsResponse
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

FRAME = pandas.DataFrame(ROWS)
NAMES = list(SIGNATURE.names)
MISSING: dict[str, Any] = {"distance": None, "hour": None, "carrier": None}


@pytest.fixture
def client(shared: Service, monkeypatch: pytest.MonkeyPatch) -> ScoringServerClient:
    # Its HTTP library asks the environment for proxies.
    monkeypatch.setenv("NO_PROXY", "*")
    return ScoringServerClient(*shared.address.split(":"))


@pytest.fixture
def answers(bundles: dict[str, Trained]) -> list[float]:
    return bundles["lightgbm-1"].answers


def test_health(client: ScoringServerClient) -> None:
    client.wait_server_ready()
    client.ping()
    assert client.get_version() == "3.17.2"


@pytest.mark.parametrize("params", [None, {"threshold": 0.5}])
def test_a_frame(client: ScoringServerClient, answers: list[float], params: Any) -> None:
    got = client.invoke(FRAME, params=params)
    assert isinstance(got, PredictionsResponse)
    assert got.get_predictions("ndarray").tolist() == answers


def test_a_shuffled_frame_with_an_index(client: ScoringServerClient, answers: list[float]) -> None:
    frame = FRAME[NAMES[::-1]].set_index(pandas.Index(range(100, 116)))
    assert client.invoke(frame).get_predictions("ndarray").tolist() == answers


def test_lists_and_arrays(client: ScoringServerClient, answers: list[float]) -> None:
    rows = [[row[name] for name in NAMES] for row in ROWS]
    assert client.invoke(rows).get_predictions("ndarray").tolist() == answers
    array = np.array(rows, dtype=object)
    assert client.invoke(array).get_predictions("ndarray").tolist() == answers


def test_missing_values_of_a_frame(client: ScoringServerClient, shared: Service) -> None:
    """The client writes them as `NaN`, which is not JSON."""
    body = {"dataframe_records": [MISSING, ROWS[0]]}
    expected = shared.post("/invocations", body).json()["predictions"]
    frame = pandas.DataFrame([{**MISSING, "distance": np.nan, "hour": np.nan}, ROWS[0]])
    assert client.invoke(frame).get_predictions("ndarray").tolist() == expected


def test_columns_as_tensors_of_one_column(shared: Service, answers: list[float]) -> None:
    body = {"inputs": {name: [[row[name]] for row in ROWS] for name in NAMES}}
    assert shared.post("/invocations", body).json()["predictions"] == answers


def csv(shared: Service, text: str | bytes, kind: str = "text/csv") -> Any:
    content = text.encode() if isinstance(text, str) else text
    return shared.client.post(
        f"{shared.url}/invocations", content=content, headers={"content-type": kind}
    )


@pytest.mark.parametrize(
    "frame",
    [FRAME, FRAME[NAMES[::-1]], FRAME.astype({"hour": float})],
    ids=["as is", "shuffled", "floats"],
)
@pytest.mark.parametrize(
    "kind", ["text/csv", "Text/CSV; charset=UTF-8", 'text/csv;charset="utf-8"']
)
def test_csv(shared: Service, answers: list[float], frame: pandas.DataFrame, kind: str) -> None:
    answer = csv(shared, frame.to_csv(index=False), kind)
    assert answer.json()["predictions"] == answers


def test_csv_with_quotes_crlf_and_a_mark(shared: Service, answers: list[float]) -> None:
    text = FRAME.to_csv(index=False, quoting=1, lineterminator="\r\n")
    assert csv(shared, b"\xef\xbb\xbf" + text.encode()).json()["predictions"] == answers


def test_csv_with_missing_values(shared: Service) -> None:
    expected = shared.post("/invocations", {"dataframe_records": [MISSING]}).json()
    for line in (",,", "nan,,"):
        got = csv(shared, f"distance,hour,carrier\n{line}\n").json()
        assert got["predictions"] == expected["predictions"]


BAD_CSV = {
    "nothing": (b"", "empty"),
    "no rows": (b"distance,hour,carrier\n", "no rows"),
    "a missing column": (b"distance,hour\n1,2\n", "carrier"),
    "an unknown column": (b"distance,hour,carrier,speed\n1,2,AA,3\n", "speed"),
    "a column twice": (b"hour,hour\n1,2\n", "twice"),
    "a short row": (b"distance,hour,carrier\n1,2,AA\n1,2\n", "row 1"),
    "a word for a number": (b"distance,hour,carrier\nfar,2,AA\n", "distance"),
    "an underscore": (b"distance,hour,carrier\n1_0,2,AA\n", "distance"),
    "half an hour": (b"distance,hour,carrier\n1,2.5,AA\n", "hour"),
    "an endless number": (b"distance,hour,carrier\n1,%b,AA\n" % (b"9" * 5000), "hour"),
    "an open quote": (b'distance,hour,carrier\n1,2,"AA\n', "CSV"),
    "other bytes": (b"distance,hour,carrier\n1,2,\xff\n", "UTF-8"),
    "a huge field": (b"distance,hour,carrier\n1,2,%b\n" % (b"A" * 200_000), "CSV"),
}


@pytest.mark.parametrize("fault", BAD_CSV)
def test_bad_csv_is_a_400_that_names_the_field(shared: Service, fault: str) -> None:
    body, field = BAD_CSV[fault]
    answer = csv(shared, body)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert field in answer.json()["message"]


@pytest.mark.parametrize(
    "kind",
    [
        "application/xml", "application/x-www-form-urlencoded", "text/csv; charset=latin-1",
        "application/json; version=2", "application/vnd.apache.parquet", "json",
    ],
)  # fmt: skip
def test_other_types_are_a_415_in_mlflows_shape(shared: Service, kind: str) -> None:
    answer = csv(shared, json.dumps({"instances": ROWS}), kind)
    assert answer.status_code == 415
    assert set(answer.json()) == {"error_code", "message"}


def test_json_is_read_with_its_type_and_without(shared: Service, answers: list[float]) -> None:
    content = json.dumps({"instances": ROWS}).encode()
    for headers in ({}, {"content-type": "application/json; charset=utf-8"}):
        answer = shared.client.post(f"{shared.url}/invocations", content=content, headers=headers)
        assert answer.json()["predictions"] == answers
