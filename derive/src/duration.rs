//! Lengths of time as they are written in attributes: a number and a unit.

/// Each unit with its length in ns.
const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The nanoseconds of a text such as `250ms`; the reason if it is none.
pub(crate) fn nanoseconds(text: &str) -> Result<u64, String> {
    let sample = "write a number and a unit, as in \"250ms\" (ns, us, ms, s, min, h)";
    let digits = text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let Some((_, length)) = UNITS.iter().find(|(name, _)| *name == unit.trim_start()) else {
        return Err(format!("\"{text}\" is not a length of time: {sample}"));
    };
    let Ok(number) = number.parse::<u64>() else {
        return Err(format!("\"{text}\" is not a length of time: {sample}"));
    };
    match number.checked_mul(*length) {
        Some(0) => Err("an event that lives no time is never delivered".to_owned()),
        Some(length) => Ok(length),
        None => Err(format!("\"{text}\" is longer than 584 years: leave the deadline out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        assert_eq!(nanoseconds("250ms"), Ok(250_000_000));
        assert_eq!(nanoseconds("5 s"), Ok(5_000_000_000));
        assert_eq!(nanoseconds("1min"), Ok(60_000_000_000));
        assert_eq!(nanoseconds("7us"), Ok(7_000));
        for wrong in ["", "250", "ms", "-1s", "1.5s", "1 day", "0s", "1s ", "9999999999h", "é"] {
            assert!(nanoseconds(wrong).is_err(), "{wrong}");
        }
    }
}
