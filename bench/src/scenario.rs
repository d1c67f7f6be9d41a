//! What is measured.

use clap::ValueEnum;

/// A kind of load. Its name is the same on the command line, in what is printed, in the JSON and in README.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// HTTP/1.1 over TCP, keep-alive, 100 B
    H1,
    /// HTTP/1.1 over TLS 1.3, keep-alive, 100 B
    H1Tls,
    /// HTTP/2 over TLS 1.3, 100 B
    H2,
    /// HTTP/1.1 with the api-key policy; nginx goes without
    #[value(name = "h1-policy-1")]
    H1Policy1,
    /// HTTP/1.1 with api-key, headers and rate-limit; nginx goes without
    #[value(name = "h1-policy-3")]
    H1Policy3,
    /// The same three policies, a fresh instance for each exchange; nginx goes without
    #[value(name = "h1-policy-3-fresh")]
    H1Policy3Fresh,
    /// A cached response of 100 B, in memory (nginx: in a file)
    #[value(name = "cache-100b")]
    Cache100B,
    /// A cached response of 10 KB, in memory (nginx: in a file)
    #[value(name = "cache-10kb")]
    Cache10Kb,
    /// A cached response of 1 MiB, in a file
    #[value(name = "cache-1mb-disk")]
    Cache1MbDisk,
    /// 1,000 requests at once for a response that is not cached yet
    CacheBurst,
    /// The 99th percentile of h1 beside a route whose plugin uses up its deadline
    Neighbour,
    /// Memory of an idle keep-alive connection
    Idle,
}

impl Scenario {
    /// Returns its name and what it is, on a line.
    pub(crate) fn title(self) -> String {
        let value = self.to_possible_value();
        let help = value.as_ref().and_then(|value| value.get_help()).map(ToString::to_string);
        format!("{}: {}", self.name(), help.unwrap_or_default())
    }

    /// Returns the name that `--scenario` takes.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) fn is_http2(self) -> bool {
        self == Self::H2
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::H1Tls | Self::H2)
    }

    /// Policies of the gateway's route.
    pub(crate) fn policies(self) -> u32 {
        match self {
            Self::H1Policy1 => 1,
            Self::H1Policy3 | Self::H1Policy3Fresh => 3,
            _ => 0,
        }
    }

    /// Returns the path to ask for, without the slash before it.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::H1Policy1 => "one/",
            Self::H1Policy3 => "three/",
            Self::H1Policy3Fresh => "fresh/",
            Self::Cache100B => "kept/100b",
            Self::Cache10Kb => "kept/10kb",
            Self::Cache1MbDisk => "kept/1mb",
            Self::CacheBurst => "kept/late",
            Self::H1 | Self::H1Tls | Self::H2 | Self::Neighbour | Self::Idle => "",
        }
    }

    /// Returns what the gateway may cost as a multiple of nginx, if the project has promised something.
    pub(crate) fn ratio_max(self) -> Option<f64> {
        match self {
            Self::H1 => Some(1.05),
            Self::H1Policy3 => Some(1.6),
            Self::Cache100B | Self::Cache10Kb => Some(0.8),
            Self::Cache1MbDisk => Some(1.0),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::Scenario;

    #[test]
    fn the_readme_has_a_row_and_a_figure_for_each_by_its_name() {
        let readme = include_str!("../README.md");
        for scenario in Scenario::value_variants() {
            let name = format!("`{}`", scenario.name());
            assert!(readme.contains(&format!("\n| {name} |")), "{name} has no row");
            assert!(scenario.title().starts_with(&format!("{}: ", scenario.name())));
        }
    }
}
