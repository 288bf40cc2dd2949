"""NVIDIA's own client against a service: JSON and binary tensors, and the rest of what it can ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from registry.models.signature import Input, Output, Signature
from tests.serving import models
from tests.serving.rig import Publisher, Service, eventually, service

#: One model of every kind, by name: mixed columns, numbers only, a single input.
SIGNATURES = {
    "flights": models.SIGNATURE,
    "numeric": models.NUMERIC,
    "single": Signature((Input("x"),), (Output("probability"),)),
}
ROWS = {
    name: [models.row(signature, number) for number in range(16)]
    for name, signature in SIGNATURES.items()
}
DATATYPES = {"float64": "FP64", "int64": "INT64", "category": "BYTES"}
KINDS = {"FP64": np.float64, "INT64": np.int64, "BYTES": np.object_}


@pytest.fixture(scope="module")
def oracles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, models.Oracle]:
    """A trained model for each signature."""
    folder = tmp_path_factory.mktemp("triton")
    return {
        name: models.Oracle(
            models.train(folder / name, flavor="lightgbm", seed=5, signature=signature)
        )
        for name, signature in SIGNATURES.items()
    }


@pytest.fixture(scope="module")
def running(
    oracles: dict[str, models.Oracle], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One service of all of them."""
    folder = tmp_path_factory.mktemp("service")
    publisher = Publisher(folder)
    for name, oracle in oracles.items():
        publisher.publish(name, oracle.folder)
    with service(publisher, folder / "run", *SIGNATURES, serving_workers=1) as started:
        yield started


@pytest.fixture(scope="module")
def client(running: Service) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(running.address, connection_timeout=60) as made:
        yield made


def inputs(name: str, *, binary: bool, module: Any = triton) -> list[Any]:
    """The rows of a model, an input for each column."""
    made = []
    for member in SIGNATURES[name].inputs:
        datatype = DATATYPES[member.type]
        values: Any = np.array([row[member.name] for row in ROWS[name]], KINDS[datatype])
        tensor = module.InferInput(member.name, [len(values)], datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        made.append(tensor)
    return made


@pytest.mark.parametrize("name", SIGNATURES)
@pytest.mark.parametrize("sent", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("asked", [None, True, False], ids=["all", "bytes", "values"])
def test_infer(
    client: triton.InferenceServerClient,
    oracles: dict[str, models.Oracle],
    name: str,
    sent: bool,
    asked: bool | None,
) -> None:
    outputs = None
    if asked is not None:
        outputs = [triton.InferRequestedOutput("probability", binary_data=asked)]
    result = client.infer(name, inputs(name, binary=sent), outputs=outputs, request_id="r-1")
    response = result.get_response()
    assert response["id"] == "r-1"
    assert response["model_name"] == name
    assert ("data" in response["outputs"][0]) == (asked is False)
    assert result.as_numpy("probability").tolist() == oracles[name].predict(ROWS[name])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression_both_ways(
    client: triton.InferenceServerClient, oracles: dict[str, models.Oracle], algorithm: str
) -> None:
    for binary in (True, False):
        result = client.infer(
            "flights",
            inputs("flights", binary=binary),
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        assert result.as_numpy("probability").tolist() == oracles["flights"].predict(
            ROWS["flights"]
        )


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "UINT8", "INT32", "UINT64"])
def test_a_matrix_of_any_numeric_datatype(
    client: triton.InferenceServerClient, oracles: dict[str, models.Oracle], datatype: str
) -> None:
    kind = triton_type(datatype)
    matrix = np.arange(12).reshape(3, 4).astype(kind)
    rows = [dict(zip(models.NUMERIC.names, map(float, row), strict=True)) for row in matrix]
    for binary in (True, False) if datatype != "FP16" else (True,):
        tensor = triton.InferInput("rows", [3, 4], datatype)
        tensor.set_data_from_numpy(matrix, binary_data=binary)
        answer = client.infer("numeric", [tensor]).as_numpy("probability")
        assert answer.tolist() == oracles["numeric"].predict(rows)


def triton_type(datatype: str) -> Any:
    from tritonclient.utils import triton_to_np_dtype

    return triton_to_np_dtype(datatype)


def test_many_at_once(client: triton.InferenceServerClient) -> None:
    calls = [client.async_infer("single", inputs("single", binary=True)) for _ in range(3)]
    assert all(len(call.get_result().as_numpy("probability")) == 16 for call in calls)


def test_asyncio(running: Service, oracles: dict[str, models.Oracle]) -> None:
    async def ask() -> None:
        async with triton_aio.InferenceServerClient(running.address) as client:
            assert await client.is_server_live()
            assert await client.is_model_ready("flights")
            for binary in (True, False):
                given = inputs("flights", binary=binary, module=triton_aio)
                results = await asyncio.gather(*(client.infer("flights", given) for _ in range(4)))
                for result in results:
                    assert result.as_numpy("probability").tolist() == oracles["flights"].predict(
                        ROWS["flights"]
                    )

    asyncio.run(ask())


def test_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flights")
    assert not client.is_model_ready("nothing")
    server = client.get_server_metadata()
    assert {"binary_tensor_data", "statistics", "model_repository"} <= set(server["extensions"])
    metadata = client.get_model_metadata("flights")
    (version,) = metadata["versions"]
    assert client.is_model_ready("flights", version)
    assert client.get_model_metadata("flights", version) == metadata
    config = client.get_model_config("flights")
    assert [entry["data_type"] for entry in config["input"]] == [
        "TYPE_FP64", "TYPE_INT64", "TYPE_STRING"
    ]  # fmt: skip
    assert config["max_batch_size"] == 0


def test_statistics_count_what_was_asked(client: triton.InferenceServerClient) -> None:
    def counted() -> tuple[int, int]:
        (entry,) = client.get_inference_statistics("numeric")["model_stats"]
        return entry["inference_count"], entry["inference_stats"]["success"]["count"]

    before = counted()
    for _ in range(3):
        client.infer("numeric", inputs("numeric", binary=True))
    assert counted() == (before[0] + 48, before[1] + 3)
    (entry,) = client.get_inference_statistics("numeric")["model_stats"]
    for stage in ("success", "queue", "compute_infer"):
        assert entry["inference_stats"][stage]["ns"] > 0
    names = {each["name"] for each in client.get_inference_statistics()["model_stats"]}
    assert names == set(SIGNATURES)


def test_the_repository(client: triton.InferenceServerClient) -> None:
    index = client.get_model_repository_index()
    assert {(entry["name"], entry["state"]) for entry in index} == {
        (name, "READY") for name in SIGNATURES
    }
    client.load_model("flights")
    with pytest.raises(InferenceServerException, match="decided by its alias"):
        client.unload_model("flights")
    with pytest.raises(InferenceServerException, match="load takes no parameters"):
        client.load_model("flights", config="{}")
    for ask in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="no model 'other'"):
            ask("other")
    assert client.is_model_ready("flights")


def test_load_tries_a_rejected_model_again(
    oracles: dict[str, models.Oracle], tmp_path: Path
) -> None:
    publisher = Publisher(tmp_path)
    publisher.publish("single", oracles["single"].folder)
    broken = publisher.commit("single", damaged_copy(oracles["single"].folder, tmp_path / "broken"))
    with service(publisher, tmp_path / "run", "single", serving_workers=1) as started:
        kept = publisher.stored(broken, "model.txt")
        good = kept.read_bytes()
        kept.write_bytes(b"x" * len(good))
        publisher.point("single", broken)
        started.wait_for_page("rejected")
        kept.write_bytes(good)
        client = triton.InferenceServerClient(started.address)
        client.load_model("single")
        eventually("the mended model", lambda: version_of(client) == broken.version[:16])
        client.close()


def version_of(client: triton.InferenceServerClient) -> str:
    return str(client.get_model_metadata("single")["versions"][0])


def damaged_copy(bundle: Path, folder: Path) -> Path:
    """Another artifact with the same files; the caller damages what is stored of it."""
    import shutil

    shutil.copytree(bundle, folder)
    return folder


RAW = {"Inference-Header-Content-Length": "0"}


def test_a_raw_body_for_a_model_of_one_input(
    running: Service, oracles: dict[str, models.Oracle]
) -> None:
    values = np.array([row["x"] for row in ROWS["single"]])
    answer = running.client.post(
        f"{running.url}/v2/models/single/infer", content=values.tobytes(), headers=RAW
    )
    length = int(answer.headers["inference-header-content-length"])
    assert answer.headers["content-type"] == "application/octet-stream"
    result = triton.InferResult.from_response_body(answer.content, header_length=length)
    assert result.as_numpy("probability").tolist() == oracles["single"].predict(ROWS["single"])
    refused = running.client.post(
        f"{running.url}/v2/models/numeric/infer", content=values.tobytes(), headers=RAW
    )
    assert (refused.status_code, "one input" in refused.text) == (400, True)


def test_nan_is_a_missing_value(running: Service, client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput("x", [1], "FP64")
    tensor.set_data_from_numpy(np.array([np.nan]))
    absent = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [None]}]}
    expected = running.post("/v2/models/single/infer", absent).json()["outputs"][0]["data"]
    assert client.infer("single", [tensor]).as_numpy("probability").tolist() == expected
