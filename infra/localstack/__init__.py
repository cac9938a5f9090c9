"""AWS on this machine: LocalStack in a container, the stack in it, and the function at work among its services."""
