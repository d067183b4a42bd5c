"""TensorFlow Serving's REST contract, so that its clients need no change.

As https://www.tensorflow.org/tfx/serving/api_rest has it, for the model
"planet" with the signatures `serving_default` and `distribution` of the
SavedModel. Photos go through the same intake as all others: those that cannot
be read are marked by `valid`, as the SavedModel does it.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

import fastapi
import numpy as np
from fastapi.responses import JSONResponse

from planet_tf.answering import metrics
from planet_tf.options.asking_config import ServeConfig
from planet_tf.serving import intake
from planet_tf.serving.budget import Share
from planet_tf.serving.desk import Desk, Reply
from planet_tf.serving.intake import Upload

NAME, VERSION = "planet", "1"
_INPUT = "image_bytes"
_DEFAULT, _DISTRIBUTION = "serving_default", "distribution"
_BASE64 = 4 / 3  # characters a byte


class BadRequest(Exception):
    """An error in TensorFlow Serving's form; its text is the message."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def router(desk: Desk, config: ServeConfig) -> fastapi.APIRouter:
    """The routes below /v1/models."""
    routes = fastapi.APIRouter(prefix="/v1/models")
    # It takes the body's size three times more, and keeps other threads out
    # anyway: so only one at a time.
    parsing = asyncio.Lock()

    @routes.get("/{name}", summary="Whether the model is there")
    @routes.get("/{name}/versions/{version}", include_in_schema=False)
    async def status(name: str, version: str = VERSION) -> JSONResponse:
        _check_name(name, version)
        return JSONResponse({"model_version_status": [_STATUS]})

    @routes.get("/{name}/metadata", summary="Its signatures")
    @routes.get("/{name}/versions/{version}/metadata", include_in_schema=False)
    async def metadata(name: str, version: str = VERSION) -> JSONResponse:
        _check_name(name, version)
        return JSONResponse(_metadata(desk))

    @routes.post("/{name}:predict", summary="As TensorFlow Serving's predict")
    @routes.post("/{name}/versions/{version}:predict", include_in_schema=False)
    async def predict(
        request: fastapi.Request, name: str, version: str = VERSION
    ) -> JSONResponse:
        _check_name(name, version)
        limit = int(config.max_request_bytes * _BASE64) + 1024
        limit = min(limit, config.max_waiting_bytes)
        signature, rows = _DEFAULT, True

        async def read(share: Share) -> Sequence[Upload]:
            nonlocal signature, rows
            body = await intake.read_body(
                request.stream(), limit, config, share
            )
            async with parsing:
                signature, rows, photos = await desk.run(_parse, body, config)
            return photos

        replies = await desk.ask(read, request.is_disconnected)
        outputs = await desk.run(_outputs, desk, replies, signature)
        return JSONResponse(await desk.run(_shaped, outputs, rows))

    return routes


_STATUS = {
    "version": VERSION,
    "state": "AVAILABLE",
    "status": {"error_code": "OK", "error_message": ""},
}


def _check_name(name: str, version: str) -> None:
    if name != NAME:
        raise BadRequest(404, f"Servable not found for request: Latest({name})")
    if version != VERSION:
        raise BadRequest(
            404, f"Servable not found for request: Specific({name}, {version})"
        )


def _parse(body: bytes, config: ServeConfig) -> tuple[str, bool, list[Upload]]:
    """The signature, whether the answer is by rows, and the photos."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(400, f"JSON Parse error: {error}") from error
    if not isinstance(found, Mapping):
        raise BadRequest(400, "JSON Value: is not object")
    signature = found.get("signature_name") or _DEFAULT
    if signature not in (_DEFAULT, _DISTRIBUTION):
        raise BadRequest(
            400,
            f"Serving signature name: {signature!r} not found in signature"
            f" def; there are {_DEFAULT!r} and {_DISTRIBUTION!r}",
        )
    if ("instances" in found) == ("inputs" in found):
        raise BadRequest(
            400, "Missing 'inputs' or 'instances' key, or both are given"
        )
    rows = "instances" in found
    values = found["instances"] if rows else found["inputs"]
    if not rows and isinstance(values, Mapping) and _INPUT in values:
        values = values[_INPUT]
    if not isinstance(values, list) or not values:
        raise BadRequest(
            400, f"needed is a list of {{{_INPUT!r}: {{'b64': '...'}}}}"
        )
    if len(values) > config.max_photos:
        raise BadRequest(
            413, f"{len(values)} photos; the limit is {config.max_photos}"
        )
    return signature, rows, [_upload(i, v) for i, v in enumerate(values)]


def _upload(i: int, value: Any) -> Upload:
    if isinstance(value, Mapping) and _INPUT in value:
        value = value[_INPUT]
    if not (isinstance(value, Mapping) and isinstance(value.get("b64"), str)):
        raise BadRequest(
            400,
            f"instance {i} is not {{{_INPUT!r}: {{'b64': '...'}}}}, a photo's"
            " bytes in base64",
        )
    try:
        return Upload("", base64.b64decode(value["b64"], validate=True))
    except (binascii.Error, ValueError) as error:
        raise BadRequest(400, f"instance {i}: {error}") from error


def _outputs(
    desk: Desk, replies: Sequence[Reply], signature: str
) -> dict[str, np.ndarray]:
    """What the SavedModel's signature would say, from the limited classes."""
    partition = desk.model.partition
    # What was not read is answered alike for all, and marked.
    blank = np.full(partition.num_classes, 1 / partition.num_classes)
    probabilities = np.stack(
        [r.asked.probabilities if r.asked else blank for r in replies]
    )
    valid = np.array([reply.asked is not None for reply in replies])
    if signature == _DISTRIBUTION:
        return {"probabilities": probabilities, "valid": valid}
    cells = desk.model.photos.answers(probabilities, metrics.TOP)
    of_cells = probabilities[:, int(partition.other_class) :]
    return {
        "token": np.array(partition.tokens)[cells],
        "probability": np.take_along_axis(of_cells, cells, 1),
        "latlng": partition.latlng[cells],
        "valid": valid,
    }


def _shaped(outputs: Mapping[str, np.ndarray], rows: bool) -> dict[str, Any]:
    lists = {name: values.tolist() for name, values in outputs.items()}
    if not rows:
        return {"outputs": lists}
    each = zip(*lists.values(), strict=True)
    return {"predictions": [dict(zip(lists, row, strict=True)) for row in each]}


def _metadata(desk: Desk) -> dict[str, Any]:
    k = min(metrics.TOP, len(desk.model.partition.tokens))
    classes = desk.model.partition.num_classes
    signatures = {
        _DEFAULT: {
            "token": ("DT_STRING", (-1, k)),
            "probability": ("DT_FLOAT", (-1, k)),
            "latlng": ("DT_FLOAT", (-1, k, 2)),
            "valid": ("DT_BOOL", (-1,)),
        },
        _DISTRIBUTION: {
            "probabilities": ("DT_FLOAT", (-1, classes)),
            "valid": ("DT_BOOL", (-1,)),
        },
    }
    return {
        "model_spec": {
            "name": NAME,
            "signature_name": "",
            "version": VERSION,
        },
        "metadata": {
            "signature_def": {
                "signature_def": {
                    name: {
                        "inputs": {_INPUT: _tensor("DT_STRING", (-1,))},
                        "outputs": {k: _tensor(*v) for k, v in outputs.items()},
                        "method_name": "tensorflow/serving/predict",
                    }
                    for name, outputs in signatures.items()
                }
            }
        },
    }


def _tensor(kind: str, shape: Sequence[int]) -> dict[str, Any]:
    dims = [{"size": str(size), "name": ""} for size in shape]
    return {
        "dtype": kind,
        "tensor_shape": {"dim": dims, "unknown_rank": False},
        "name": "",
    }
