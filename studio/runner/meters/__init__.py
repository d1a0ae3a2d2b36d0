"""What the computer does while a run trains: processor, memory and GPU."""
