"""What a run shows and asks of the desktop around the window. Whatever fails here is logged, and the run goes on."""
