# The server on an NVIDIA card. Build from the project's root: docker build -f docker/cuda.Dockerfile -t gohd-live:cuda .
# torch's wheels bring the CUDA libraries; the host brings the driver, through the NVIDIA Container Toolkit (--gpus all).
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/gohd \
 && /opt/gohd/bin/pip install "torch>=2.10"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY kernels kernels
COPY engine engine
COPY server server
COPY train train
COPY clients clients
RUN /opt/gohd/bin/pip install ".[gpu,tensorrt]"

FROM ${PYTHON_IMAGE}
# Versions are the base image's distribution's: pinning them would only keep security fixes out. gcc and the C library's
# headers: Triton compiles the launcher of a kernel when it first runs.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libgl1 libglib2.0-0 libegl1 libgles2 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 gohd \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin gohd \
 && install -d -o gohd -g gohd /var/cache/gohd
COPY --from=build /opt/gohd /opt/gohd
ENV PATH=/opt/gohd/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    XDG_CACHE_HOME=/var/cache/gohd NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
# Engines are built for this card once, by: docker run ... weights compile
VOLUME /var/cache/gohd
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
ENTRYPOINT ["gohd"]
# Listening beyond the container needs GOHD_TOKEN or GOHD_JWT_SECRET in its environment; without one it ends with that advice.
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
