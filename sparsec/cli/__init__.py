"""The `sparsec` command; one module per subcommand."""
