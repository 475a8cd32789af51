"""The ops, one file per family; importing this package fills the registry."""
