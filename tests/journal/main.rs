//! Journals that keep what they are given.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test's helper cannot do fails the test"
)]

mod disk_damage;
mod disk_failures;
mod disk_files;
mod disk_model;
mod disk_power;
mod disk_space;
mod sim;
mod support;
mod world;
