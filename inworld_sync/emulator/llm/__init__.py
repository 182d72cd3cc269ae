"""Chat completions, the list of models, and routers."""
