"""The bytes that members exchange in a room: content, payloads, agreed state, welcomes. No I/O."""
