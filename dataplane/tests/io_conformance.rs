//! One suite for every way in and out: the rules of `wireloom_dataplane::io`, held against sockets
//! with and without GSO and GRO and against the simulated network.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "io_conformance/cases.rs"]
mod cases;
#[path = "io_conformance/kernel.rs"]
mod kernel;
#[path = "io_conformance/rig.rs"]
mod rig;
#[path = "support/mod.rs"]
mod support;

macro_rules! suite {
    ($backend:ident: $($case:ident),+ $(,)?) => {
        $(#[test]
        fn $case() {
            crate::cases::$case(&crate::rig::Backend::$backend());
        })+
    };
}

macro_rules! conformance {
    ($($backend:ident),+ $(,)?) => {
        $(mod $backend {
            suite! { $backend:
                single_datagrams_of_every_length,
                a_zero_length_datagram_is_delivered_and_counted,
                the_largest_datagram_passes,
                what_is_too_large_is_refused_and_the_rest_goes_on,
                segments_arrive_as_datagrams_with_a_short_last_one,
                slices_may_end_anywhere,
                runs_beyond_every_limit_are_cut_smaller,
                order_holds_across_kinds_and_calls,
                one_send_reaches_several_destinations,
                ipv6_carries_the_same,
                a_receive_call_is_bounded_and_says_when_it_saw_the_end,
                arrivals_are_aligned_and_name_their_source,
                a_full_receive_buffer_is_counted,
                random_messages_arrive_as_they_were_sent,
            }
        })+
    };
}

conformance!(mio, mio_without_gso, mio_without_gro, mio_plain, simulated);
