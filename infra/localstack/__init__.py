"""Deploy the stack to LocalStack on this machine, and classify photos there."""
