//! Trees: directory handles that paths cannot leave.
