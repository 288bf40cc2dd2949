"""The answer to a plain request, of which only the numbers differ from one to the next."""

from __future__ import annotations

import msgspec

from registry.models.signature import Matrix, Signature

_encode = msgspec.json.Encoder().encode


class Template:
    """What one generation answers, in the words of either protocol, around the numbers."""

    def __init__(self, model: str, version: str, signature: Signature) -> None:
        name, stamp = _encode(model), _encode(version)
        self._start = b'{"model_name":%b,"model_version":%b,"outputs":[' % (name, stamp)
        self._outputs = [
            b'{"name":%b,"datatype":"FP64","shape":[' % _encode(output.name)
            for output in signature.outputs
        ]
        self._names = [output.name for output in signature.outputs]
        self._end = b',"model_name":%b,"model_version":%b}' % (name, stamp)
        #: What is before and after the number in an answer that is one; None with several outputs.
        self.tensor: tuple[bytes, bytes] | None = None
        self.prediction: tuple[bytes, bytes] | None = None
        if len(self._names) == 1:
            self.tensor = b'%b%b1],"data":[' % (self._start, self._outputs[0]), b"]}]}"
            self.prediction = b'{"predictions":[', b"]" + self._end

    def tensors(self, result: Matrix) -> bytes:
        """The body of an Open Inference Protocol answer, every output a JSON tensor."""
        outputs = [
            b'%b%d],"data":%b}' % (head, len(result), _encode(column))
            for head, column in zip(self._outputs, result.T.tolist(), strict=True)
        ]
        return b"%b%b]}" % (self._start, b",".join(outputs))

    def predictions(self, result: Matrix) -> bytes:
        """The body of an MLflow answer."""
        if len(self._names) == 1:
            values = _encode(result[:, 0].tolist())
        else:
            rows = result.tolist()
            values = _encode([dict(zip(self._names, row, strict=True)) for row in rows])
        return b'{"predictions":%b%b' % (values, self._end)
