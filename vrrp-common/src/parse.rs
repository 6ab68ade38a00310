//! The header walk and the VRRP receive checks.
