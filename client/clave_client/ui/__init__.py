"""What a person sees and types: display lines, chat commands, line mode, pipes, the demo."""
