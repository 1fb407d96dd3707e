# MinIO from source, at the commit that `latentline up` builds too (infra/local/minio_binary.py): its makers stopped
# publishing in February 2026.
FROM golang:1.26.6-alpine AS build
ARG VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
RUN CGO_ENABLED=0 GOBIN=/out go install -trimpath -ldflags="-s -w" github.com/minio/minio@${VERSION}

FROM alpine:3.22.1
COPY --from=build /out/minio /usr/local/bin/minio
RUN adduser -D minio && install -d -o minio /data
USER minio
ENTRYPOINT ["minio"]
