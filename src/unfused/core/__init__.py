"""What every room stands on: finished outputs, seeds, progress, errors, several processes."""
