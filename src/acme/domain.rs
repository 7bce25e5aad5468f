//! The registered domain of a name: whom a CA counts together.

/// The registered domain of a name, as near as it can be told without the public suffix list: its last two labels, or three
/// where the second of them is one of those that registries of countries sell names under, as in `example.co.uk`.
///
/// Where it is wrong it takes more names together than the list would (`a.github.io` and `b.github.io`), and their budget is
/// used up sooner than a CA's: that is the safe side.
pub(super) fn registered(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let (Some(last), Some(second)) = (dots.next(), dots.next()) else {
        return name;
    };
    let country = name.len() - last - 1 == 2;
    let under = &name[second + 1..last];
    if !country || !SOLD_UNDER.contains(&under) {
        return &name[second + 1..];
    }
    dots.next().map_or(name, |third| &name[third + 1..])
}

/// What many registries of countries have below their own label.
const SOLD_UNDER: [&str; 9] = ["ac", "co", "com", "edu", "gov", "net", "ne", "or", "org"];

#[cfg(test)]
mod tests {
    use super::registered;

    #[test]
    fn a_registered_domain_is_the_last_two_labels_or_three_below_a_country() {
        for (name, domain) in [
            ("www.example.com", "example.com"),
            ("a.b.example.com", "example.com"),
            ("*.example.com", "example.com"),
            ("example.com", "example.com"),
            ("intranet", "intranet"),
            ("www.example.co.uk", "example.co.uk"),
            ("example.co.uk", "example.co.uk"),
            ("co.uk", "co.uk"),
            ("*.shop.example.com.au", "example.com.au"),
            ("www.co.example", "co.example"),
        ] {
            assert_eq!(registered(name), domain, "{name}");
        }
    }
}
