"""The conformance checks, a file or two for each kind of part."""
