"""The live plots: every raw point is kept, and at most two points a pixel are drawn."""
