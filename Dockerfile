# One image for every service; the command chooses: gateway, router, presence_service, extensions.

FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/realtime
COPY requirements requirements
# EXTRAS=[otel] adds OpenTelemetry.
ARG EXTRAS=
# setuptools stays behind, in the Python of this stage.
RUN extra="${EXTRAS#[}" && extra="${extra%]}" \
    && pip install --no-cache-dir --require-hashes --requirement requirements/build.txt \
    && /opt/realtime/bin/pip install --no-cache-dir --no-compile --require-hashes \
        --requirement "requirements/${extra:-main}.txt"
COPY pyproject.toml README.md LICENSE ./
COPY clients/python clients/python
COPY extensions extensions
COPY gateway gateway
COPY presence_service presence_service
COPY router router
COPY shared shared
COPY standalone standalone
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/realtime/bin/pip install --no-cache-dir --no-compile --no-deps --no-index wheels/*.whl

FROM python:3.13-slim
COPY --from=build /opt/realtime /opt/realtime
# Memory in huge pages: docs/operations.md.
ENV PATH=/opt/realtime/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONMALLOC=malloc \
    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \
    REALTIME_ADMIN_HOST=0.0.0.0 \
    REALTIME_ADMIN_PORT=9081 \
    REALTIME_LOG_JSON=true
WORKDIR /tmp
USER 10001:10001
EXPOSE 8081 9081
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:9081/readyz', timeout=2)"]
ENTRYPOINT ["python", "-m"]
CMD ["gateway"]
