"""What a training takes: memory, bytes sent, time; and whether it fits."""
