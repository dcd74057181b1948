"""How a command reads its flags and meets its user. The one place that knows absl."""
