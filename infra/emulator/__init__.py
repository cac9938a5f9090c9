"""Run the function on this machine: AWS's Runtime Interface Emulator behind an emulated function URL."""
