"""The function on this machine: AWS's own runtime emulator, with a function URL in front of it."""
