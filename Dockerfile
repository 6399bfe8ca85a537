# Two images from one file: `pgguard` (the last, the default) is the proxy; `demo` has the lab's servers as well.

FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
    ca-certificates python3-venv python3-dev gcc libc6-dev libkrb5-dev libldap-dev libsasl2-dev
WORKDIR /src
RUN python3 -m venv /opt/pgguard
# The libraries first, in the lock's versions: a change of pgguard's own code does not build them again.
COPY requirements.lock pyproject.toml ./
RUN sed -n 's/^\([A-Za-z0-9._-]*==[^ ]*\).*/\1/p' requirements.lock > versions.txt \
    && python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > libraries.txt
# Where pip needs a registry or an authority of your own, lend them to the build; they stay out of the image:
#   docker build --secret id=pip,src=pip.conf --secret id=authority,src=authority.pem .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=authority,target=/etc/pip-authority.pem \
    /opt/pgguard/bin/pip install --no-cache-dir -c versions.txt -r libraries.txt setuptools wheel
COPY . ./
RUN /opt/pgguard/bin/pip install --no-cache-dir --no-deps --no-build-isolation . && /opt/pgguard/bin/pip uninstall -y setuptools wheel

FROM debian:bookworm-slim AS demo
RUN apt-get update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends \
    python3 krb5-kdc krb5-admin-server krb5-user slapd libsasl2-modules-gssapi-mit \
    postgresql postgresql-client && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/pgguard /opt/pgguard
ENV PATH=/opt/pgguard/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENTRYPOINT ["pgguard", "lab", "service", "--shared", "/lab"]

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
