"""What people read, written once for the window and the command line: numbers with units, and the words for codes."""
