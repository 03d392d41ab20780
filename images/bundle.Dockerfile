# The launcher as a tree that every image can take (images/README.md). The context is the root of the repository.
# The newer the C library of this base, the more of what an image preloads (LD_PRELOAD) can be loaded with it.
ARG BASE_IMAGE=python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS build
USER root
RUN python3 -m venv /tools \
 && install --directory --mode=1777 /folders/home/modelarts /folders/top/cache
COPY images/*.lock /src/images/
# A build host with a package index or certificates of its own hands them in as secrets, so that no layer keeps them.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca \
    if [ -e /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    /tools/bin/python -m pip install --quiet --no-cache-dir --no-deps --require-hashes --requirement /src/images/tools.lock
COPY images/*.py /src/images/
COPY pyproject.toml README.md CHANGELOG.md LICENSE /src/
COPY launcher /src/launcher
# requirements, or search: with what `launcher search` needs
ARG LOCK=requirements
ENV PATH=/tools/bin:${PATH}
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca \
    if [ -e /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    python /src/images/bundle.py /opt/launcher --source /src --lock /src/images/${LOCK}.lock --origins /origins.json \
 && python /src/images/sbom.py /opt/launcher --origins /origins.json \
 && cp /opt/launcher/bin/launcher /usr/local/bin/launcher

FROM scratch
COPY --from=build /opt/launcher /opt/launcher
# a copy, for a link would be followed by the next COPY
COPY --from=build /usr/local/bin/launcher /usr/local/bin/launcher
COPY --from=build /folders /folders
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="modelarts-launcher-bundle" \
      org.opencontainers.image.description="The launcher with an interpreter and libraries of its own, to be copied into images" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["launcher"]
