"""Questions to the application in this process, without a network."""

import base64

import numpy as np
from starlette.testclient import TestClient

from planet_tf.options.asking_config import ServeConfig
from planet_tf.serving import asgi

PREDICT = "/v1/models/planet:predict"


def make_client(model, **options):
    """The application, with the answers of a model."""
    config = ServeConfig(model_dir="", **options)
    return TestClient(asgi.make(model, config), base_url="http://localhost")


def by_label(client, distribution):
    """Probabilities (cells,) of the pairs in an answer."""
    cells = client.get("/api/model").json()["cells"]
    found = np.zeros(len(cells))
    for cell, share in distribution:
        found[cell] = share
    return found


def locate(client, photo, **options):
    options = {"distribution": True} | options
    return client.post("/api/locate", content=photo, params=options)


def as_instances(*photos, **more):
    encoded = [{"b64": base64.b64encode(p).decode()} for p in photos]
    return {"instances": [{"image_bytes": b} for b in encoded]} | more
