//! Words that stand for a mode: each option's own.

use clap::ValueEnum;

/// Octets of a name at most: those that its length in one octet can say.
const LONGEST_NAME: usize = 254;

/// A name that people read, of the exporter.
pub fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > LONGEST_NAME || text.contains(char::is_control) {
        return Err(format!("a name has 1 to {LONGEST_NAME} octets and no control characters"));
    }
    Ok(text.to_owned())
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $(= $text:literal)?,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
        pub enum $name { $($(#[$variant_doc])* $(#[value(name = $text)])? $variant,)* }
    };
}

words! {
    /// `--protocol`.
    Protocol {
        /// IPFIX, RFC 7011
        Ipfix,
        /// NetFlow version 9, RFC 3954
        V9 = "v9",
        /// NetFlow version 5
        V5 = "v5",
    }
}
words! {
    /// `--direction`.
    Direction {
        /// Those that it receives
        Ingress,
        /// Those that it sends
        Egress,
        /// All
        Both,
    }
}
words! {
    /// `--xdp-mode`.
    XdpMode {
        /// Native; tc where that is not to be had or taken; generic last
        Auto,
        /// XDP in the driver
        Native,
        /// TC: in the stack, and exact with packets that the driver or GRO merged
        Tc,
        /// XDP in the stack; packets that the driver or GRO merged count as one
        Generic,
    }
}
words! {
    /// `--promiscuous`.
    Promiscuous {
        /// With --tap
        Auto,
        /// Always
        On,
        /// Never
        Off,
    }
}
words! {
    /// `--on-overload`.
    OnOverload {
        /// Packets that find no place are lost, and counted as such
        Count,
        /// Fewer packets are metered, which collectors are told, until maps no longer fill up
        Sample,
    }
}
words! {
    /// `--fragments`.
    Fragments {
        /// Later fragments take the ports of their first one, so that a fragmented flow is one flow
        Join,
        /// Later fragments are flows of their own, without ports
        Separate,
    }
}
words! {
    /// `--routes`.
    Routes {
        /// Follow the routing tables by netlink
        On,
        /// Next hops and egress interfaces are 0
        Off,
    }
}
words! {
    /// `--exclude-own-export`.
    ExcludeOwnExport {
        /// They are counted as own_export
        On,
        /// They are metered like other packets
        Off,
    }
}
words! {
    /// `--clock`.
    Clock {
        /// The kernel's tick
        Jiffies,
        /// Nanoseconds
        Precise,
    }
}
words! {
    /// `--format`.
    Format {
        /// A table: updating on a terminal, else one line per flow
        Table,
        /// One JSON object per flow
        Json,
    }
}
