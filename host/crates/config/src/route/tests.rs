//! Tests of the order of routes.
