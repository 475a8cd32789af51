"""The grammar of the random programs: scope, keys, expressions, statements."""
