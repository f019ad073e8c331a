"""The key-value store: one protocol, and etcd v3, etcd v2 and memory that keep it."""
