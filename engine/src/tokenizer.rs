//! Text to token ids and back, exactly as HF.
