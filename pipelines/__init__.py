"""Luigi tasks: what must exist, and how the jobs that make it are dispatched.

`luigi --module pipelines Predict --usecase flights --date 2013-06-30 --local-scheduler` works;
`penstock run flights --date 2013-06-30` is the same with threads and a linear scheduler.
"""

from __future__ import annotations

from pipelines.evaluate import Evaluate, EvaluateChampion
from pipelines.features import Features
from pipelines.ingest import Ingest
from pipelines.predict import Predict
from pipelines.publish import Publish
from pipelines.search import Search
from pipelines.train import Train

__all__ = [
    "Evaluate",
    "EvaluateChampion",
    "Features",
    "Ingest",
    "Predict",
    "Publish",
    "Search",
    "Train",
]
