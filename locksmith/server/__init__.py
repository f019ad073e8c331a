"""`locksmith-server`: it acts on the locks of groups for machines that have no etcd: FleetLock's clients."""
