//! Norm tuning (Zhao et al., arXiv 2312.11420; for models with biases BitFit, Ben Zaken et al., arXiv 2106.10199): the
//! weights `w` of the norms `w x / rms(x)` are trained from the base's, by themselves or beside another method. Llama-class
//! models have no biases to train.
//!
//! A norm's weight is a parameter as it is, so there is nothing to compute here: the layout has a slot for each, and
//! [`crate::layers::block`] takes it in place of the base's. Merged, it is the norm's weight.
