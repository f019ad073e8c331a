"""The store under it all: one small protocol, and its three kinds (memory, etcd v3, etcd v2)."""
