"""The key-value store: one protocol, and its implementations on etcd v3, etcd v2 and memory."""
