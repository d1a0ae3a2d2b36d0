"""Windows above the window, one module each."""
