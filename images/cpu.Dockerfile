# A training image with the launcher as its entrypoint (images/README.md). The context is the root of the repository.
ARG BASE_IMAGE=python:3.12-slim-bookworm
ARG BUNDLE_IMAGE=launcher:bundle

FROM ${BUNDLE_IMAGE} AS bundle

FROM ${BASE_IMAGE}
USER root
RUN --mount=type=bind,source=images/furnish,target=/tmp/furnish sh /tmp/furnish
COPY --from=bundle /opt/launcher /opt/launcher
COPY --from=bundle /usr/local/bin/launcher /usr/local/bin/launcher
COPY --from=bundle --chown=1000:100 /folders/home /home/ma-user
COPY --from=bundle --chown=1000:100 /folders/top /
ARG BASE_IMAGE
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="modelarts-launcher" \
      org.opencontainers.image.description="Starts ModelArts training jobs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
ENV LANG=C.UTF-8
HEALTHCHECK NONE
STOPSIGNAL SIGTERM
USER 1000:100
WORKDIR /home/ma-user
ENTRYPOINT ["launcher", "run"]
