# Adds the launcher to any training image (images/README.md); the base needs neither a shell nor Python nor a C library.
ARG BASE_IMAGE=scratch
ARG BUNDLE_IMAGE=launcher:bundle

FROM ${BUNDLE_IMAGE} AS bundle

FROM ${BASE_IMAGE}
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
# of the base they would be inherited: one kills a training that is slow to answer, the other ends it without the grace
HEALTHCHECK NONE
STOPSIGNAL SIGTERM
ENTRYPOINT ["launcher", "run"]
