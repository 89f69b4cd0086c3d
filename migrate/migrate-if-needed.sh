#!/bin/sh
# Hands the variables that images with this script are known by to migrate, as
# flags. Arguments come after them, and so beat them; "-- COMMAND" starts the
# server afterwards. ETCD_HOSTNAME, HOSTNAME and DO_NOT_MOVE_BINARIES migrate
# reads itself. An empty variable counts as unset.
set -eu

case $0 in
*/*) migrate=${0%/*}/migrate ;;
*) migrate=/usr/local/bin/migrate ;;
esac

[ -z "${ETCD_NAME:-}" ] || set -- "--name=$ETCD_NAME" "$@"
[ -z "${DATA_DIRECTORY:-}" ] || set -- "--data-dir=$DATA_DIRECTORY" "$@"
[ -z "${TARGET_VERSION:-}" ] || set -- "--target-version=$TARGET_VERSION" "$@"
[ -z "${TARGET_STORAGE:-}" ] || set -- "--target-storage=$TARGET_STORAGE" "$@"
[ -z "${LISTEN_CLIENT_URLS:-}" ] || set -- "--listen-client-urls=$LISTEN_CLIENT_URLS" "$@"
[ -z "${LISTEN_PEER_URLS:-}" ] || set -- "--listen-peer-urls=$LISTEN_PEER_URLS" "$@"
[ -z "${INITIAL_ADVERTISE_PEER_URLS:-}" ] || set -- "--initial-advertise-peer-urls=$INITIAL_ADVERTISE_PEER_URLS" "$@"
[ -z "${INITIAL_CLUSTER:-}" ] || set -- "--initial-cluster=$INITIAL_CLUSTER" "$@"
[ -z "${ETCD_DATA_PREFIX:-}" ] || set -- "--etcd-data-prefix=$ETCD_DATA_PREFIX" "$@"
[ -z "${TTL_KEYS_DIRECTORY:-}" ] || set -- "--ttl-keys-directory=$TTL_KEYS_DIRECTORY" "$@"
[ -z "${ETCD_CREDS:-}" ] || set -- "--etcd-server-extra-args=$ETCD_CREDS" "$@"

exec "$migrate" "$@"
