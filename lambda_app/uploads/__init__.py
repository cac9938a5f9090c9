"""Read uploads within limits: request bodies, forms and encoded photos."""
