//! Tests of what a plugin's schema can do to us.
