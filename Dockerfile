# syntax=docker/dockerfile:1

# The tags are moving ones. Pin them by digest where a build must be repeatable.
FROM rust:1-slim-bookworm AS build
# aws-lc and the bundled SQLite are C.
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential cmake pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY migrations migrations
COPY sagas sagas
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin escrow \
    && install -D target/release/escrow /out/escrow \
    && install -d -o 65532 -g 65532 /out/data

# No shell, no package manager; the C library, root certificates, and a user who is not root (65532).
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/escrow /usr/local/bin/escrow
COPY --from=build --chown=65532:65532 /out/data /data
COPY --chown=65532:65532 sagas /sagas
USER 65532:65532
# Others reach this address, so `serve` wants an access file: --access or ESCROW_ACCESS.
# /data is where the embedded database lies when no other is named.
WORKDIR /data
ENV ESCROW_SAGAS=/sagas \
    ESCROW_LISTEN=0.0.0.0:8080
EXPOSE 8080
# Exits with 6 when the server cannot be reached or used. Where it speaks TLS, give a check of your own.
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=6 \
    CMD ["/usr/local/bin/escrow", "status", "--probe", "--server", "http://127.0.0.1:8080"]
ENTRYPOINT ["/usr/local/bin/escrow"]
CMD ["serve"]
