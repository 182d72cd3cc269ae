"""Functions that a model may call: schema, arguments and call."""
