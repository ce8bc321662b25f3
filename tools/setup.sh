#!/bin/bash
# Installs the system packages that building, testing and running Braid need and that are missing, with apt-get.
#   tools/setup.sh            install what is missing (root), or print the command (not root)
#   tools/setup.sh --rust     the Rust toolchain too
#   tools/setup.sh --test     what only tests need (other name servers, a resolver, Prometheus, a browser), where apt-get
#                             has it; never fails for it
#   tools/setup.sh --python   print the Python to use, 3.11 or newer; nothing is installed
#   tools/setup.sh --cargo    fail with one line if Rust is missing or too old; nothing is installed
set -euo pipefail

rust_minor=85

say() { echo "setup: $*" >&2; }

python_suits() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local name
    for name in python3 python3.11 python3.12 python3.13 python3.14; do
        if command -v "$name" >/dev/null && python_suits "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

rust_suits() {
    local version
    version=$(rustc --version 2>/dev/null) || return 1
    [[ $version =~ ^rustc\ 1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= rust_minor)) && command -v cargo >/dev/null
}

candidate() {
    apt-cache policy "$1" 2>/dev/null | awk '$1 == "Candidate:" { print $2 }' | grep -v '^(none)$'
}

# The apt packages that give a Rust new enough, or nothing: Debian 13 and Ubuntu 24.04 have rustup, Debian 12 has rustc-web.
rust_packages() {
    if candidate rustup >/dev/null; then
        echo "rustup"
    elif [[ $(candidate rustc-web) =~ ^1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= rust_minor)); then
        echo "rustc-web cargo-web rust-web-clippy rustfmt-web"
    fi
}

explain_rust() {
    case $(rust_packages) in
        "") say "Rust 1.$rust_minor or newer is needed: install rustup (see rust-lang.org), then run make again" ;;
        rustup) say "Rust 1.$rust_minor or newer is needed: run 'make setup RUST=1', which does: apt-get install rustup && rustup default stable" ;;
        *) say "Rust 1.$rust_minor or newer is needed: run 'make setup RUST=1', which does: apt-get install $(rust_packages)" ;;
    esac
}

missing=()
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

collect_missing() {
    local python
    if python=$(find_python); then
        need "$(basename "$(readlink -f "$python")")-venv" "$python" -c 'import ensurepip, venv'
    elif [[ $(candidate python3) =~ ^3\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 11)); then
        missing+=(python3 python3-venv)
    else
        missing+=(python3.11 python3.11-venv)
    fi
    need gcc command -v cc
    need libc6-dev test -e /usr/include/stdlib.h
    need iproute2 command -v ip
    need nftables command -v nft
    need curl command -v curl
    need bind9-dnsutils command -v dig
    need iputils-ping command -v ping
    need traceroute command -v traceroute
    need procps command -v sysctl
    need valgrind command -v valgrind
    need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt
}

install_packages() {
    if ! command -v apt-get >/dev/null; then
        say "no apt-get here; install what Debian calls: $*"
        exit 1
    fi
    if [ "$(id -u)" != 0 ]; then
        say "missing packages; as root run: apt-get update && apt-get install --no-install-recommends $*"
        exit 1
    fi
    say "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Servers of Debian start with their installation and at every boot; the tests start their own.
install_without_starting() {
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    install_packages "$@"
    if command -v systemctl >/dev/null; then
        for service in unbound pdns prometheus; do
            [[ " $* " == *" $service"* ]] && systemctl disable --quiet "$service" 2>/dev/null || true
        done
    fi
}

case ${1-} in
    --python)
        find_python || { say "Python 3.11 or newer is needed: run 'make setup' as root"; exit 1; }
        ;;
    --cargo)
        rust_suits || { explain_rust; exit 1; }
        ;;
    --test)
        PATH=$PATH:/usr/sbin:/sbin
        missing=()
        need knot-dnsutils command -v kdig
        need unbound command -v unbound
        need pdns-server command -v pdns_server
        need pdns-backend-remote sh -c 'ls /usr/lib/*/pdns/libremotebackend.so'
        need prometheus command -v promtool
        if ((${#missing[@]})) && { [ "$(id -u)" != 0 ] || ! (install_without_starting "${missing[@]}"); }; then
            say "without ${missing[*]}: the tests with them will be skipped"
        fi
        command -v chromium >/dev/null && exit 0
        # Ubuntu's package is an empty one that leads to a snap.
        version=$(candidate chromium || true)
        if [ -n "$version" ] && [[ $version != *snap* ]] && [ "$(id -u)" = 0 ] && install_packages chromium fonts-dejavu-core; then
            exit 0
        fi
        say "no chromium here: the tests of the status page in a browser will be skipped"
        ;;
    "" | --rust)
        PATH=$PATH:/usr/sbin:/sbin
        collect_missing
        if ((${#missing[@]})); then
            install_packages "${missing[@]}"
        fi
        if [ "${1-}" = --rust ] && ! rust_suits; then
            read -ra packages <<<"$(rust_packages)"
            ((${#packages[@]})) || { explain_rust; exit 1; }
            install_packages "${packages[@]}"
            if [ "${packages[0]}" = rustup ]; then
                rustup default stable
            fi
        fi
        ;;
    *)
        say "unknown argument: $1"
        exit 2
        ;;
esac
