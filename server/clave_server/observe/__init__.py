"""What the operator sees: mirror lines, log lines, counters. Written by threads of their own."""
