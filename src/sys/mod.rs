//! System calls: the only room where `unsafe` may stand.
#![allow(unsafe_code)]
