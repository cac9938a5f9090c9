"""Photos to a checkpoint: prepare, train, evaluate; one module a stage."""
