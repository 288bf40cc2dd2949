"""What is refused because it would wait too long; the clock is the tests' own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import Overloaded
from serving.gateway.admission import Admission

BATCH = 4
COUNT = st.integers(0, 50)
WORKERS = st.integers(1, 4)


def paced(seconds: float, max_wait: float = 0.0) -> Admission:
    made = Admission(max_wait, BATCH)
    made.computed(seconds)
    return made


@given(COUNT, st.integers(0, BATCH - 1), WORKERS)
def test_an_idle_worker_means_no_wait(batches, rows, workers):
    expected = 0.0 if batches < workers else pytest.approx(0.02 * batches / workers)
    assert paced(0.02).wait(rows, batches, workers) == expected


@given(COUNT, COUNT, WORKERS, st.floats(1e-6, 10), st.floats(0, 10))
def test_more_work_never_waits_less_and_is_refused_by_its_wait_alone(
    rows, batches, workers, pace, patience
):
    admission = paced(pace)
    wait = admission.wait(rows, batches, workers)
    assert admission.wait(rows + 1, batches, workers) >= wait
    assert admission.wait(rows, batches + 1, workers) >= wait
    assert admission.wait(rows, batches, workers + 1) <= wait
    if wait > patience:
        with pytest.raises(Overloaded):
            admission.check(rows, batches, workers, patience)
    else:
        admission.check(rows, batches, workers, patience)


def test_the_limit_is_the_nearer_of_deadline_and_setting():
    admission = paced(0.02, max_wait=0.03)
    admission.check(BATCH - 1, 3, 2, patience=60)
    for rows, patience in ((BATCH, 60), (0, 0.029)):
        with pytest.raises(Overloaded, match="too long"):
            admission.check(rows, 3, 2, patience)


def test_nothing_is_refused_before_a_batch_was_computed():
    Admission(0.001, BATCH).check(1000, 9, 1, patience=0.0)


def test_the_pace_follows_what_batches_take():
    admission = paced(1.0)
    for _ in range(50):
        admission.computed(0.1)
    assert admission.pace == pytest.approx(0.1, rel=0.01)
    admission.forget()
    assert admission.wait(100, 100, 1) == 0.0
