"""The metrics of the panel, a file each."""
