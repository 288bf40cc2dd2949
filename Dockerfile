# syntax=docker/dockerfile:1
# One image runs jobs, pipelines and serving; the command says which.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.lock ./
COPY scripts/runtime_lock.py scripts/
# Every hash is checked, those of the tools that build included; developers' tools stay out.
RUN python -m venv /opt/build && python -m venv --without-pip /opt/penstock \
 && python scripts/runtime_lock.py --build > build.lock \
 && python scripts/runtime_lock.py > runtime.lock \
 && /opt/build/bin/pip --python /opt/penstock/bin/python install --require-hashes \
        --only-binary :all: -r build.lock \
 && /opt/build/bin/pip --python /opt/penstock/bin/python install --require-hashes \
        --no-build-isolation -r runtime.lock
# What builds the native evaluator; without it LightGBM's own library does its work, more slowly.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
COPY . .
RUN /opt/build/bin/pip --python /opt/penstock/bin/python install --no-deps --no-build-isolation . \
 && /opt/build/bin/pip --python /opt/penstock/bin/python uninstall --yes wheel

FROM python:${PYTHON}-slim-bookworm
# libgomp1: LightGBM's threads. tini reaps the children of a supervisor that was killed.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --create-home --home-dir /var/lib/penstock penstock
COPY --from=build /opt/penstock /opt/penstock
# Which commit this is, for manifests and runs; without it the image may not write to prod.
ARG COMMIT=
ENV PATH=/opt/penstock/bin:$PATH PYTHONUNBUFFERED=1 PENSTOCK_VAR=/var/lib/penstock \
    PENSTOCK_COMMIT=$COMMIT
USER 10001
WORKDIR /var/lib/penstock
ENTRYPOINT ["tini", "--", "penstock"]
CMD ["--help"]
