#!/bin/bash
# Makes the Dockerfile's two base images where no image registry can be reached:
#   braid-base    Debian with Python, iproute2 and curl, and the Python packages of requirements.txt as wheels
#   braid-build   the same with a C compiler, this machine's Rust toolchain and the crates of Cargo.lock
# Neither needs a network afterwards; make them again when the pins change. Writes .env, from which compose takes BUILD_IMAGE and BASE_IMAGE.
# Packages come from this machine's own apt sources, pip and cargo set-up. Needs root (debootstrap) and a Docker engine.
# SUITE and MIRROR override what the apt sources say; --fresh makes the root file systems again.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "images: $*" >&2; }
die() { say "$*"; exit 1; }

[ "$(id -u)" = 0 ] || die "must be root, debootstrap needs it: sudo tools/images.sh"
command -v docker >/dev/null || die "docker is missing: apt-get install docker.io"
docker version --format '{{.Server.Version}}' >/dev/null || die "no Docker engine answers: systemctl start docker"
command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
command -v cargo >/dev/null || die "cargo is missing: make setup RUST=1"
pip=.venv/bin/pip
[ -x "$pip" ] || die ".venv is missing: make build"

suite=${SUITE:-$(. /etc/os-release && echo "${VERSION_CODENAME:?}")}
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk -v suite="$suite" '$2 == suite && $3 == "main" { print $1; exit }')}
[ -n "$mirror" ] || die "no apt source for $suite on this machine: set MIRROR"

have() { docker image inspect "$1" >/dev/null 2>&1; }
if [ "${1-}" = --fresh ]; then
    docker rmi --force braid-root braid-build-root >/dev/null 2>&1 || true
fi

work=$(mktemp -d /var/tmp/braid-images.XXXXXX)
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT

import() {
    tar -C "$root" --one-file-system --exclude=./var/cache/apt/archives/*.deb --exclude=./proc/* --exclude=./sys/* -c . |
        docker import --change 'CMD ["/bin/sh"]' "${@:2}" - "$1" >/dev/null
}

layer() {
    docker build --quiet --label braid.base --tag "$1" "$2" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; die "cannot make $1"; }
}

if ! have braid-root || ! have braid-build-root; then
    if ! command -v debootstrap >/dev/null; then
        say "installing debootstrap"
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >&2
    fi
    say "debootstrap $suite (about a minute)"
    debootstrap --variant=minbase --include=ca-certificates,curl,iproute2,python3,python3-venv "$suite" "$root" "$mirror" \
        >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; die "debootstrap failed"; }
    import braid-root

    # A distribution's Rust is installed by apt, rustup's is one directory to copy.
    rust=$(rustc --print sysroot)
    packages="gcc libc6-dev"
    if [ "$rust" = /usr ]; then
        packages="$packages $(dpkg -S "$(readlink -f "$(command -v rustc)")" "$(readlink -f "$(command -v cargo)")" | cut -d: -f1 | tr '\n' ' ')"
    fi
    say "compiler and Rust toolchain for the build image"
    # shellcheck disable=SC2086 # several packages
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y -qq --no-install-recommends $packages \
        >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; die "apt-get in the build image failed"; }
    if [ "$rust" != /usr ]; then
        mkdir -p "$root/opt/rust"
        tar -C "$rust" --exclude=./share --exclude=./lib/rustlib/src -c . | tar -C "$root/opt/rust" -x
    fi
    import braid-build-root --change 'ENV PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
fi

python=$(docker run --rm --network none braid-root python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
say "wheels for Python $python"
mkdir -p "$work/base/wheels" "$work/build"
"$pip" download --quiet --require-hashes --only-binary=:all: --python-version "$python" \
    --dest "$work/base/wheels" --requirement requirements.txt
cat >"$work/base/pip.conf" <<'END'
[global]
no-index = true
find-links = /opt/wheels
END
cat >"$work/base/Dockerfile" <<'END'
FROM braid-root
COPY wheels /opt/wheels
COPY pip.conf /etc/pip.conf
END
layer braid-base "$work/base"

say "crates of dataplane/Cargo.lock"
cargo vendor --quiet --locked --versioned-dirs --manifest-path dataplane/Cargo.toml "$work/build/vendor" >/dev/null
cat >"$work/build/config.toml" <<'END'
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "/opt/vendor"
END
cat >"$work/build/Dockerfile" <<'END'
FROM braid-build-root
ENV CARGO_HOME=/opt/cargo CARGO_NET_OFFLINE=true
COPY vendor /opt/vendor
COPY config.toml /opt/cargo/config.toml
END
layer braid-build "$work/build"

# What earlier runs made of other pins has lost its name.
docker image prune --force --filter label=braid.base >/dev/null

cat >.env <<'END'
BUILD_IMAGE=braid-build
BASE_IMAGE=braid-base
END
say "made braid-base and braid-build; .env names them for compose"
