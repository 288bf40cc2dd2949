"""A bundle's model as an ONNX graph of one form, whatever library made it.

Input `inputs`, float32 of shape (rows, inputs): the codes that `registry.models.signature` makes, in
the order of the signature, NaN where a value is missing. Output `outputs`, float32 of shape
(rows, outputs). What converters add besides (labels, maps) is left out.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import BadData, ConfigError, Refused

if TYPE_CHECKING:
    from registry.models.bundle import Bundle

#: The libraries that an export takes besides those of the model; none is needed to serve or train.
LIBRARIES = ("onnx", "onnxmltools", "onnxruntime")
_OPSET, _IR = 15, 8
_INPUTS, _OUTPUTS = "inputs", "outputs"


def require_libraries() -> None:
    """Raise ConfigError naming the libraries that are not installed."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            "models cannot be exported to ONNX here",
            f"not installed: {', '.join(missing)}",
            "Install penstock with its extra `onnx`, or run `make install`.",
        )


def to_graph(bundle: Bundle) -> Any:
    """The `onnx.ModelProto` of a bundle.

    Raises:
        Refused: the model is of a class of a use case's own.
        BadData: the converter cannot express the model; Corrupt: the file is damaged.
    """
    if bundle.flavor == "python":
        raise Refused(
            f"a model of {bundle.header.own} cannot be exported to ONNX",
            "only its own class knows what it computes",
            "Export models of lightgbm and catboost.",
        )
    convert = _lightgbm if bundle.flavor == "lightgbm" else _catboost
    try:
        graph = convert(bundle)
    except BadData:
        raise
    except Exception as error:  # converters raise what they like
        first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise BadData(
            f"the {bundle.flavor} model cannot be expressed in ONNX",
            first,
            "Use the bundle, or train with other hyperparameters.",
        ) from error
    return _in_form(graph, bundle)


def _lightgbm(bundle: Bundle) -> Any:
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = lightgbm.Booster(model_str=bundle.model_bytes().decode())
    width = [None, len(bundle.signature.inputs)]
    return convert_lightgbm(
        booster, initial_types=[(_INPUTS, FloatTensorType(width))], zipmap=False, target_opset=_OPSET
    )  # fmt: skip


def _catboost(bundle: Bundle) -> Any:
    import onnx

    from registry.models.catboost import CatBoostPredictor

    predictor = CatBoostPredictor(bundle.model_bytes(), bundle.header.model.link)
    model, metadata = predictor.model, predictor.model.get_metadata()
    if "class_params" in metadata.keys():  # noqa: SIM118 (it is no mapping)
        # Trained on labels 0.0 and 1.0; the format has no labels that are not whole.
        classes = json.loads(metadata["class_params"])
        metadata["class_params"] = json.dumps({**classes, "class_label_type": "Integer"})
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        path = Path(folder) / "model.onnx"
        model.save_model(str(path), format="onnx")
        return onnx.load(str(path))


def _in_form(converted: Any, bundle: Bundle) -> Any:
    """The converter's graph with our input and output, and nothing that these do not need."""
    from onnx import TensorProto, helper

    graph = converted.graph
    nodes = list(graph.node)
    _rename(nodes, graph.input[0].name, _INPUTS)
    values = _values(graph, nodes)
    nodes = _needed(nodes, values)
    constants, outputs = list(graph.initializer), len(bundle.signature.outputs)
    if _is_binary(bundle):  # of two columns, that of the label
        constants.append(helper.make_tensor("_label", TensorProto.INT64, [1], [1]))
        nodes.append(helper.make_node("Gather", [values, "_label"], [_OUTPUTS], axis=1))
    else:
        nodes.append(helper.make_node("Identity", [values], [_OUTPUTS]))
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
            for name, width in ((_INPUTS, len(bundle.signature.inputs)), (_OUTPUTS, outputs))]  # fmt: skip
    made = helper.make_graph(nodes, "penstock", rows[:1], rows[1:], constants)
    ml = max(each.version for each in converted.opset_import if each.domain == "ai.onnx.ml")
    sets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", ml)]
    return helper.make_model(made, opset_imports=sets, ir_version=_IR, producer_name="penstock")


def _is_binary(bundle: Bundle) -> bool:
    if bundle.flavor == "catboost":
        return bundle.header.model.link == "logistic"
    return b"\nobjective=binary" in bundle.model_bytes()


def _values(graph: Any, nodes: list[Any]) -> str:
    """The name of the tensor with the numbers: the last output, before it became a map."""
    last = str(graph.output[-1].name)
    return next(
        (str(node.input[0]) for node in nodes if node.op_type == "ZipMap" and last in node.output),
        last,
    )


def _needed(nodes: list[Any], output: str) -> list[Any]:
    """The nodes that `output` is made by, in their order."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _rename(nodes: list[Any], old: str, new: str) -> None:
    for node in nodes:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new
