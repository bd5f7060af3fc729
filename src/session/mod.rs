//! One transfer over one connection, from handshake to goodbye.
