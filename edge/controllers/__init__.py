"""HTTP and WebSocket endpoints; they call services and nothing below them."""
