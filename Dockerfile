# The one image of every program of a run: worker, seed, ledger. CMD is the worker; the pods name the others.
# A task of your own: FROM this image, then COPY my_task.py ./ (see README.md).

FROM python:3.13-slim AS dependencies
COPY requirements/image.txt /requirements.txt
# A virtual environment without pip, filled by the builder's pip: the final stage needs no installer.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --require-hashes --disable-pip-version-check -r /requirements.txt


FROM python:3.13-slim
# A number below 10,000 could be somebody on the node; Kubernetes checks runAsNonRoot by the number, not the name.
RUN rm -rf "$(python -c 'import os, pip; print(os.path.dirname(pip.__file__))')" /usr/local/bin/pip* /usr/bin/pip* \
    && groupadd --gid 10001 ttg && useradd --uid 10001 --gid ttg --no-create-home --home-dir /tmp --shell /usr/sbin/nologin ttg
COPY --from=dependencies /venv /venv
WORKDIR /app
COPY examples examples
COPY worker worker
COPY scripts scripts
# The root file system is read-only in the cluster, so bytecode is written here or never.
RUN /venv/bin/python -m compileall -q .
# /tasks: where the chart mounts run.files.
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONPATH=/tasks PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001

# Last, because a new revision should not build the layers above again.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ttg" \
      org.opencontainers.image.description="One Python function, ten million parameters, every one accounted for exactly once" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
CMD ["python", "-m", "worker"]
