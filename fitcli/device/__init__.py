"""What computes: device and precision, CPU features, the compiler, copies to and from the device."""
