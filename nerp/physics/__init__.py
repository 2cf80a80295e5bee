"""Physical radiographs: the beam, what it meets, and what the detector makes of it."""
