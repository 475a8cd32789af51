"""The intermediate representations: graph (SSA with storage versions) and loops; their text and meaning."""
