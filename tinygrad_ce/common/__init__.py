"""What every floor may use. It imports nothing of the package."""
