"""What the function's log says: how fast, how loaded, how right it is, and whether the world has changed."""
