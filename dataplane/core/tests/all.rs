//! The engine's tests in one program: linking is most of what a test program costs.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

mod fast_path;
mod flows;
mod given;
mod held;
mod measure;
mod mtu;
mod normal_path;
mod one_way_loss;
mod overlay;
mod owners;
mod recovery;
mod refusing;
mod rest;
mod shards;
mod siblings;
mod spread;
mod stack;
mod tcp;
mod transferred;
mod vectors;
mod window;
