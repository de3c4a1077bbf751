//! Bytes ⇄ blocks.
