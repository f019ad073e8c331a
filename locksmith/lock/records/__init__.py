"""The records in the store: their keys, their JSON, and nothing that reads or writes them. Pure."""
