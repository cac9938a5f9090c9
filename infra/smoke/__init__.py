"""Is a deployed function alive, right, and the one just deployed? Asked over a URL or through Lambda's Invoke API."""
