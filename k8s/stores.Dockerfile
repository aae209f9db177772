# The servers that compose.yaml runs: Debian's packages, and SeaweedFS, of which Debian has none, as S3.
# k8s/build-images makes both stages' bases and names them by digest.
ARG BUILD_IMAGE
ARG SERVERS_IMAGE

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
COPY requirements/stores.txt requirements/
# A company's own certificate authority counts where it is mounted over /etc/ssl/certs.
RUN python3 -m venv s3 \
    && PIP_CERT=/etc/ssl/certs/ca-certificates.crt s3/bin/pip install --no-cache-dir --quiet \
        --require-hashes -r requirements/stores.txt

FROM ${SERVERS_IMAGE}
COPY --from=build /build/s3/bin/weed /usr/local/bin/weed
RUN install --directory --owner=10001 --group=10001 /var/lib/seaweedfs

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="foreview-stores" \
      org.opencontainers.image.description="PostgreSQL, Redis, S3, haproxy, Prometheus, Alertmanager." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Each service of compose.yaml names the user that its server has in Debian.
USER 10001:10001
CMD ["weed", "version"]
