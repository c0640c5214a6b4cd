"""Pure statistics for drift surveillance: numpy and scipy only, no I/O, no clock, no plotting."""
