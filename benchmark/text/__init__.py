"""Text from the hub: named sets of sources, read at a pinned revision, de-duplicated, dealt into roles and kept with the results."""
