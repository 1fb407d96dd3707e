"""The local stack: real Kafka and MinIO and the line's services, each its own process, on one machine."""
