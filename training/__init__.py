"""Train the network: one module per DVC stage (prepare, train, evaluate), with its helpers beside it."""
