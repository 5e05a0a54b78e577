//! One suite for every way in and out: the rules of `wireloom_dataplane::io`, held against sockets
//! with and without GSO and GRO, through system calls and rings, and against the simulated network.

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
    ($backend:ident, $cases:ident: $($case:ident),+ $(,)?) => {
        $(#[test]
        fn $case() {
            let backend = crate::rig::Backend::$backend();
            if backend.is_here() {
                crate::$cases::$case(&backend);
            }
        })+
    };
}

macro_rules! conformance {
    ($backend:ident) => {
        suite! { $backend, cases:
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
    };
}

macro_rules! kernel_conformance {
    ($backend:ident) => {
        conformance!($backend);
        suite! { $backend, kernel:
            a_closed_peer_stops_nobody,
            an_error_of_an_earlier_datagram_costs_no_later_one,
            no_route_and_no_permission_are_refusals_of_their_own_message,
            what_is_longer_than_a_slot_is_dropped_whole_and_counted,
            drops_are_known_with_the_next_arrival,
            several_sockets_are_all_served_and_named,
            a_busy_socket_leaves_the_others_their_turn,
            an_arrival_ends_a_park_and_so_does_a_wake,
            a_full_send_buffer_blocks_and_the_rest_follows_in_order,
            what_a_caller_abandons_is_counted,
            f12_a_path_too_narrow_for_the_segments_leaves_segmentation_on,
        }
    };
}

mod mio {
    kernel_conformance!(mio);
    suite! { mio, cases:
        packets_that_came_together_are_shown_by_lane,
        an_urgent_packet_goes_before_those_that_wait_for_a_long_one,
    }
}
mod mio_without_gso {
    conformance!(mio_without_gso);
}
mod mio_without_gro {
    conformance!(mio_without_gro);
    suite! { mio_without_gro, cases:
        packets_that_came_together_are_shown_by_lane,
        an_urgent_packet_goes_before_those_that_wait_for_a_long_one,
    }
}
mod mio_plain {
    conformance!(mio_plain);
}
mod simulated {
    conformance!(simulated);
}
#[cfg(feature = "io-uring")]
mod uring {
    kernel_conformance!(uring);
}
#[cfg(feature = "io-uring")]
mod uring_plain {
    conformance!(uring_plain);
}
