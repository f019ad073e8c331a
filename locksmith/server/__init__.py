"""`locksmith-server`: what takes part in the locks of groups for machines that have no etcd: FleetLock's clients."""
