//! HF chat templates, rendered under limits.
