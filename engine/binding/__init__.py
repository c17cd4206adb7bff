"""What a framework passes and says, in the engine's words: for adapters, which know no other adapter."""
