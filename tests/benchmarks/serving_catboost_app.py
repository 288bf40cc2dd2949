"""A CatBoost model behind FastAPI, by hand: the peer of the benchmark's CatBoost cell.

Run by uvicorn in the environment that the harness of peers has for FastAPI, with catboost added.
"""

import os

import catboost
import numpy as np
import orjson
from fastapi import FastAPI, Request, Response

model = catboost.CatBoost().load_model(os.environ["BENCH_MODEL"], format="cbm")
app = FastAPI()


@app.get("/health")
async def health() -> str:
    """Readiness."""
    return "ok"


@app.post("/predict")
async def predict(request: Request) -> Response:
    """Body through orjson, bytes out, no pydantic: the fastest of the ways by hand."""
    rows = np.asarray(orjson.loads(await request.body())["instances"], dtype=np.float64)
    answers = model.predict(rows, prediction_type="Probability", thread_count=1)[:, 1]
    return Response(orjson.dumps({"predictions": answers.tolist()}), media_type="application/json")
