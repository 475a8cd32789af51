"""Running compiled programs: native calls, OpenCL queues, devices, caches."""
