# One image for every role: `braid run NODE -t FILE`. Both base images are arguments, so that a machine without an image
# registry can bring its own (tools/images.sh); what a base lacks is installed, what it has is not asked for.
ARG BUILD_IMAGE=rust:1-slim-bookworm
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY dataplane dataplane
# The module uses Python's stable ABI, so no interpreter is needed to build it.
ENV PYO3_NO_PYTHON=1 PYO3_BUILD_EXTENSION_MODULE=1
# As in dataplane/Cargo.toml; tests, which ask nothing of its speed, have them built quicker.
ARG CARGO_PROFILE_RELEASE_LTO=thin
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS=4
ARG CARGO_PROFILE_RELEASE_OPT_LEVEL=3
ARG CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
RUN cargo build --release --locked --manifest-path dataplane/Cargo.toml --package braid-py \
    && cp dataplane/target/release/lib*native.so /_native.abi3.so

FROM ${BASE_IMAGE}
RUN command -v ip && command -v curl || { \
        apt-get update && apt-get install -y --no-install-recommends ca-certificates curl iproute2 \
        && rm -rf /var/lib/apt/lists/*; }
COPY requirements.txt /tmp/
RUN python3 -m venv /opt/braid \
    && /opt/braid/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/requirements.txt \
    && rm /tmp/requirements.txt
ENV PATH=/opt/braid/bin:$PATH PYTHONPATH=/opt/braid/rooms PYTHONUNBUFFERED=1
WORKDIR /opt/braid/rooms
COPY braid braid
COPY edge edge
COPY intermediate intermediate
COPY gateway gateway
COPY dns dns
COPY content content
COPY topology topology
COPY lab lab
COPY dataplane/__init__.py dataplane/
COPY --from=build /_native.abi3.so dataplane/
# What installing a wheel would leave: the command, and metadata for `braid --version`.
COPY pyproject.toml /tmp/
RUN version=$(sed -n 's/^version = "\(.*\)"/\1/p' /tmp/pyproject.toml) \
    && mkdir "braid-$version.dist-info" \
    && printf 'Metadata-Version: 2.1\nName: braid\nVersion: %s\n' "$version" >"braid-$version.dist-info/METADATA" \
    && printf '#!/opt/braid/bin/python\nfrom braid.cli import main\n\nmain()\n' >/opt/braid/bin/braid \
    && chmod 755 /opt/braid/bin/braid && rm /tmp/pyproject.toml
WORKDIR /
CMD ["braid", "--help"]
