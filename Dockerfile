# syntax=docker/dockerfile:1
# One image runs jobs, pipelines and serving; the command says which.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.lock .
# The tools that build come from the lock as well; see scripts/install.
RUN python -m venv /opt/penstock \
 && awk '/^[^ #]/ { keep = $0 ~ /^(setuptools|wheel|packaging)==/ } keep' requirements.lock > build.txt \
 && /opt/penstock/bin/pip install --require-hashes --only-binary :all: -r build.txt \
 && /opt/penstock/bin/pip install --require-hashes --no-build-isolation -r requirements.lock
COPY . .
RUN /opt/penstock/bin/pip install --no-deps --no-build-isolation .

FROM python:${PYTHON}-slim-bookworm
# libgomp1: LightGBM's threads. tini reaps the children of a supervisor that was killed.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --create-home --home-dir /var/lib/penstock penstock
COPY --from=build /opt/penstock /opt/penstock
ENV PATH=/opt/penstock/bin:$PATH PYTHONUNBUFFERED=1 PENSTOCK_VAR=/var/lib/penstock
USER 10001
WORKDIR /var/lib/penstock
ENTRYPOINT ["tini", "--", "penstock"]
CMD ["--help"]
