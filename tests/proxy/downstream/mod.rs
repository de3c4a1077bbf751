//! What clients may have of the proxy, and who they are taken for.

mod addresses;
mod ages;
mod bounds;
mod introductions;
mod rates;
mod shares;
mod tunnels;
