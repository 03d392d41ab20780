# The same for Ascend. The driver is the host's: the platform mounts /usr/local/Ascend/driver (images/README.md). The context is the root of the repository.
ARG BASE_IMAGE=ascendai/cann:8.3.rc1-910b-ubuntu22.04-py3.11
ARG BUNDLE_IMAGE=launcher:bundle

FROM ${BUNDLE_IMAGE} AS bundle

FROM ${BASE_IMAGE}
USER root
RUN --mount=type=bind,source=images/furnish,target=/tmp/furnish sh /tmp/furnish HwHiAiUser
COPY --from=bundle /opt/launcher /opt/launcher
COPY --from=bundle /usr/local/bin/launcher /usr/local/bin/launcher
COPY --from=bundle --chown=1000:100 /folders/home /home/ma-user
COPY --from=bundle --chown=1000:100 /folders/top /
ARG BASE_IMAGE
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="modelarts-launcher" \
      org.opencontainers.image.description="Starts ModelArts training jobs on Ascend NPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
# What CANN's set_env.sh sets, and where the driver's libraries are mounted.
ARG CANN=/usr/local/Ascend/ascend-toolkit/latest
ARG DRIVER=/usr/local/Ascend/driver/lib64
ENV LANG=C.UTF-8 \
    ASCEND_TOOLKIT_HOME=${CANN} \
    ASCEND_HOME_PATH=${CANN} \
    ASCEND_AICPU_PATH=${CANN} \
    ASCEND_OPP_PATH=${CANN}/opp \
    TOOLCHAIN_HOME=${CANN}/toolkit \
    PATH=${CANN}/bin:${CANN}/compiler/ccec_compiler/bin:${CANN}/tools/ccec_compiler/bin:${PATH} \
    PYTHONPATH=${CANN}/python/site-packages:${CANN}/opp/built-in/op_impl/ai_core/tbe${PYTHONPATH:+:${PYTHONPATH}} \
    LD_LIBRARY_PATH=${CANN}/tools/aml/lib64:${CANN}/tools/aml/lib64/plugin:${CANN}/lib64:${CANN}/lib64/plugin/opskernel:${CANN}/lib64/plugin/nnengine:${CANN}/opp/built-in/op_impl/ai_core/tbe/op_tiling:${DRIVER}:${DRIVER}/common:${DRIVER}/driver${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}
HEALTHCHECK NONE
STOPSIGNAL SIGTERM
# Without a group here the engine gives the user all groups of its own: 100, and the one that may open the devices.
USER 1000
WORKDIR /home/ma-user
ENTRYPOINT ["launcher", "run"]
