# Three images from one file: `pgguard` (the last, the default) is the proxy; `demo` has the servers of the lab as well.

FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
    python3-venv python3-dev gcc libc6-dev libkrb5-dev libldap-dev libsasl2-dev
COPY . /src
RUN python3 -m venv /opt/pgguard && /opt/pgguard/bin/pip install --no-cache-dir /src

FROM debian:bookworm-slim AS demo
RUN apt-get update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends \
    python3 krb5-kdc krb5-admin-server krb5-user krb5-pkinit slapd ldap-utils libsasl2-modules-gssapi-mit \
    postgresql postgresql-client openssl && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/pgguard /opt/pgguard
ENV PATH=/opt/pgguard/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["sh", "-c", "pgguard lab up --dir /lab && exec sleep infinity"]

FROM debian:bookworm-slim AS pgguard
RUN apt-get update && apt-get install -y --no-install-recommends \
    python3 libgssapi-krb5-2 libldap-2.5-0 libsasl2-2 libsasl2-modules-gssapi-mit && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/pgguard pgguard \
    && install -d -o pgguard -m 750 /var/log/pgguard
COPY --from=build /opt/pgguard /opt/pgguard
USER pgguard
EXPOSE 6432 9187
VOLUME /var/log/pgguard
ENTRYPOINT ["/opt/pgguard/bin/pgguard"]
CMD ["serve", "--config", "/etc/pgguard/pgguard.toml"]
