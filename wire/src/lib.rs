//! What is on the wire: packet and frame headers, packing, sequence windows. Sans-IO, no unsafe.
