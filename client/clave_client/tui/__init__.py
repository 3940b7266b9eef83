"""The full screen: rooms at the left, messages in the middle, a line to write below. Built on Textual."""
