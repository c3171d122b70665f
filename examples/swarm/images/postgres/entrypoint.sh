#!/bin/bash
# Honours POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and POSTGRES_INITDB_ARGS on an empty data directory, as the
# official image does.
set -euo pipefail

if [ "$(id -u)" = 0 ]; then
    install -d -o postgres -g postgres -m 700 "$PGDATA" /run/postgresql
    chmod 755 /run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    initdb --username="$user" --pwfile=<(echo "${POSTGRES_PASSWORD:?must be set}") --auth=scram-sha-256 \
        --auth-local=trust --encoding=UTF8 --locale=C.UTF-8 ${POSTGRES_INITDB_ARGS:-} >/dev/null
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    # Slipway reads slow statements in the log
    echo "log_min_duration_statement = 250ms" >>"$PGDATA/postgresql.conf"
    options=$(printf '%q ' "${@:2}" -c listen_addresses=)
    pg_ctl --pgdata="$PGDATA" --wait --options="$options" start >/dev/null
    [ "$database" = postgres ] || createdb --username="$user" "$database"
    pg_ctl --pgdata="$PGDATA" --wait stop >/dev/null
fi

exec "$@"
