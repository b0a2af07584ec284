"""From one process's part of a step, as small tensors on the host, to a `Batch` on the device."""
