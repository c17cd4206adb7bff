"""What every adapter must do, whatever its framework."""
