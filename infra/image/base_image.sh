#!/bin/bash
# Provides the base image of Dockerfile.lambda: the local one if it exists, else the official one if a registry answers,
# else the same Debian release built with debootstrap (35 s).
set -euo pipefail
cd "$(dirname "$0")/../.."

IMAGE=$(sed -n 's/^ARG BASE=//p' Dockerfile.lambda) # debian:SUITE-slim
HOST_CA=/usr/local/share/host-ca.pem
SUITE=$(sed 's/^debian:\(.*\)-slim$/\1/' <<<"$IMAGE")

say() { echo "base image: $*" >&2; }
die() { say "$*"; exit 1; }

# Removes what the official slim image omits (132 MB): downloaded packages, manuals, translations.
slim() {
    chroot "$1" apt-get clean
    rm -rf "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,info,locale,man}/*
    printf 'path-exclude /usr/share/%s/*\n' doc info locale man >"$1/etc/dpkg/dpkg.cfg.d/docker"
}

# Copies this machine's certificate authorities: without access to a registry it is often behind a proxy with its own
# authority, which pip and uv in the image must trust.
copy_authorities() {
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$1$HOST_CA"
}

build_with_debootstrap() {
    local work
    work=$(mktemp -d)
    trap "rm -rf '$work'" EXIT
    mkdir "$work/cache"
    # Debootstrap ends at the first download that fails; another attempt keeps the packages that it has.
    for attempt in 1 2 3; do
        ! debootstrap --variant=minbase --cache-dir="$work/cache" "$SUITE" "$work/root" >"$work/log" 2>&1 || break
        tail -n 20 "$work/log" >&2
        [ "$attempt" -lt 3 ] || die "debootstrap failed"
        say "debootstrap failed; trying again"
        rm -rf "$work/root"
    done
    slim "$work/root"
    copy_authorities "$work/root"
    tar -C "$work/root" -c . | docker import --change "ENV PIP_CERT=$HOST_CA SSL_CERT_FILE=$HOST_CA" - "$IMAGE" >/dev/null
}

docker info >/dev/null 2>&1 || die "no Docker engine answers"
if docker image inspect "$IMAGE" >/dev/null 2>&1; then
    say "$IMAGE exists"
elif timeout 120 docker pull --platform linux/amd64 --quiet "$IMAGE" >/dev/null 2>&1; then
    say "pulled $IMAGE"
else
    [ "$(id -u)" = 0 ] || die "cannot pull $IMAGE, and building it with debootstrap requires root"
    command -v debootstrap >/dev/null || die "cannot pull $IMAGE, and building it requires debootstrap (apt-get install debootstrap)"
    say "cannot pull $IMAGE: building it with debootstrap"
    build_with_debootstrap
    say "built $IMAGE"
fi
