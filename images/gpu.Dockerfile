# The same for NVIDIA GPUs. The driver is the host's: the container runtime, or the platform, brings it in (images/README.md). The context is the root of the repository.
ARG BASE_IMAGE=nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04
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
      org.opencontainers.image.description="Starts ModelArts training jobs on NVIDIA GPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
# Which of the host's devices and libraries the container runtime brings in; a platform may lay the driver below /usr/local/nvidia.
ENV LANG=C.UTF-8 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PATH=/usr/local/nvidia/bin:${PATH} \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}
HEALTHCHECK NONE
STOPSIGNAL SIGTERM
USER 1000:100
WORKDIR /home/ma-user
ENTRYPOINT ["launcher", "run"]
