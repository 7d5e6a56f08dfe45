# One image for web, workers, beat and Flower (target app); two more that only the profile "sandbox" builds.

FROM python:3.11-slim-bookworm AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/clofy
RUN python -m pip install --no-cache-dir --root-user-action=ignore uv==0.13.9
WORKDIR /build
COPY pyproject.toml uv.lock ./
# Every package is checked against the hash in uv.lock; all of them have wheels, so no compiler is needed even here.
RUN uv sync --frozen --no-default-groups --no-install-project --no-build

FROM build AS build-stand-ins
RUN uv sync --frozen --no-default-groups --group sandbox --no-install-project --no-build

FROM python:3.11-slim-bookworm AS runtime
ENV PATH=/opt/clofy/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# pip has no business in a running container; openssl (which the base brings) makes the certificates, so ask for it here.
RUN python -m pip uninstall --yes --root-user-action=ignore pip setuptools wheel \
    && openssl version \
    && groupadd --gid 10001 clofy \
    && useradd --uid 10001 --gid clofy --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin clofy \
    && install --directory --owner=clofy --group=clofy --mode=0700 /var/lib/clofy
WORKDIR /srv/clofy
USER 10001:10001

FROM runtime AS stand-ins
COPY --from=build-stand-ins /opt/clofy /opt/clofy
COPY sandbox sandbox

FROM node:22-bookworm-slim AS azurite
WORKDIR /opt/azurite
COPY sandbox/npm ./
# As sandbox/azurite.py does it: each package against the hash in the lock, and none of them runs a script.
RUN npm ci --ignore-scripts --omit=dev --no-audit --no-fund \
    && install --directory --owner=node --group=node --mode=0700 /data
ENV PATH=/opt/azurite/node_modules/.bin:$PATH
USER node
CMD ["azurite", "--location", "/data", "--blobHost", "0.0.0.0", "--queueHost", "127.0.0.1", "--tableHost", "127.0.0.1", "--disableTelemetry", "--skipApiVersionCheck"]

FROM runtime AS app
COPY --from=build /opt/clofy /opt/clofy
COPY pyproject.toml alembic.ini beat_schedule.py ./
COPY deploy/certificates.sh deploy/certificates.sh
COPY migrations migrations
COPY cli cli
COPY core core
COPY workers workers
COPY web web
EXPOSE 8000
CMD ["python", "-m", "uvicorn", "--factory", "web.app:create_app", "--host", "0.0.0.0", "--port", "8000", \
     "--loop", "uvloop", "--http", "web.heads:BoundedHeads", "--ws", "websockets-sansio", "--ws-max-size", "65536", "--ws-per-message-deflate", "false", \
     "--no-proxy-headers", "--no-server-header", "--no-access-log", "--timeout-graceful-shutdown", "20"]
