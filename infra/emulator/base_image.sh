#!/bin/bash
# Provides the image that Dockerfile.lambda starts from: the one here, the official one where a registry answers,
# else the same Debian made with debootstrap (35 s).
set -euo pipefail
cd "$(dirname "$0")/../.."

IMAGE=$(sed -n 's/^ARG BASE=//p' Dockerfile.lambda) # debian:SUITE-slim
HOST_CA=/usr/local/share/host-ca.pem
SUITE=$(sed 's/^debian:\(.*\)-slim$/\1/' <<<"$IMAGE")

say() { echo "base image: $*" >&2; }
die() { say "$*"; exit 1; }

# What the official slim image leaves out as well (132 MB): downloaded packages, manuals, translations.
slim() {
    chroot "$1" apt-get clean
    rm -rf "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,info,locale,man}/*
    printf 'path-exclude /usr/share/%s/*\n' doc info locale man >"$1/etc/dpkg/dpkg.cfg.d/docker"
}

# A machine that reaches no registry often trusts an authority of its own, so pip and uv inside must trust the same ones.
trust_host() {
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$1$HOST_CA"
}

stand_in() {
    local work
    work=$(mktemp -d)
    trap "rm -rf '$work'" EXIT
    debootstrap --variant=minbase "$SUITE" "$work/root" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; die "debootstrap failed"; }
    slim "$work/root"
    trust_host "$work/root"
    tar -C "$work/root" -c . | docker import --change "ENV PIP_CERT=$HOST_CA SSL_CERT_FILE=$HOST_CA" - "$IMAGE" >/dev/null
}

docker info >/dev/null 2>&1 || die "no Docker engine answers"
if docker image inspect "$IMAGE" >/dev/null 2>&1; then
    say "$IMAGE is here"
elif timeout 120 docker pull --platform linux/amd64 --quiet "$IMAGE" >/dev/null 2>&1; then
    say "pulled $IMAGE"
else
    [ "$(id -u)" = 0 ] || die "cannot pull $IMAGE, and making a stand-in needs root"
    command -v debootstrap >/dev/null || die "cannot pull $IMAGE, and making a stand-in needs debootstrap (apt-get install debootstrap)"
    say "cannot pull $IMAGE: making a stand-in with debootstrap"
    stand_in
    say "made $IMAGE"
fi
