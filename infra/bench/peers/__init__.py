"""The candidates of the benchmark beside ours, each as its users would write it. They run in images of their own."""
