//! Norm tuning (Zhao et al., arXiv 2312.11420; for models with biases BitFit, Ben Zaken et al., arXiv 2106.10199): the
//! weights `w` of the norms `w x / rms(x)` are trained, starting from the base's, alone or in addition to another
//! method. Llama-class models have no biases to train.
//!
//! A norm's weight is itself the parameter, so there is nothing to compute here: the layout has a slot for each, and
//! [`crate::layers::block`] uses it instead of the base's. Merging replaces the norm's weight with it.
