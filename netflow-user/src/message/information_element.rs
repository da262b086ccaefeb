//! What an Information Element is: number, name, abstract data type.
//!
//! Numbers up to 127 mean the same in NetFlow v9 and in IPFIX. This module refuses to know which elements
//! there are, and where one stands in a template.

/// An abstract data type, RFC 7012 section 3.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataType {
    /// An unsigned integer of 8 bits.
    Unsigned8,
    /// An unsigned integer of 16 bits.
    Unsigned16,
    /// An unsigned integer of 32 bits.
    Unsigned32,
    /// An unsigned integer of 64 bits.
    Unsigned64,
    /// An unsigned integer of 256 bits (RFC 9740).
    Unsigned256,
    /// A floating-point number of 64 bits.
    Float64,
    /// Seconds since 1970-01-01 UTC, 32 bits.
    DateTimeSeconds,
    /// Milliseconds since 1970-01-01 UTC, 64 bits.
    DateTimeMilliseconds,
    /// A MAC address.
    MacAddress,
    /// An IPv4 address.
    Ipv4Address,
    /// An IPv6 address.
    Ipv6Address,
    /// Octets without a meaning as a number.
    OctetArray,
    /// UTF-8 text.
    String,
}

impl DataType {
    /// Its name in the registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsigned8 => "unsigned8",
            Self::Unsigned16 => "unsigned16",
            Self::Unsigned32 => "unsigned32",
            Self::Unsigned64 => "unsigned64",
            Self::Unsigned256 => "unsigned256",
            Self::Float64 => "float64",
            Self::DateTimeSeconds => "dateTimeSeconds",
            Self::DateTimeMilliseconds => "dateTimeMilliseconds",
            Self::MacAddress => "macAddress",
            Self::Ipv4Address => "ipv4Address",
            Self::Ipv6Address => "ipv6Address",
            Self::OctetArray => "octetArray",
            Self::String => "string",
        }
    }

    /// Octets of a value in full; `None` where they are as many as the value needs.
    pub const fn length(self) -> Option<u16> {
        Some(match self {
            Self::Unsigned8 => 1,
            Self::Unsigned16 => 2,
            Self::Unsigned32 | Self::Ipv4Address | Self::DateTimeSeconds => 4,
            Self::MacAddress => 6,
            Self::Unsigned64 | Self::Float64 | Self::DateTimeMilliseconds => 8,
            Self::Ipv6Address => 16,
            Self::Unsigned256 => 32,
            Self::OctetArray | Self::String => return None,
        })
    }

    /// Whether values may be sent in fewer octets: integers may, times and addresses never (RFC 7011
    /// section 6.2).
    pub const fn is_reducible(self) -> bool {
        matches!(self, Self::Unsigned16 | Self::Unsigned32 | Self::Unsigned64 | Self::Unsigned256)
    }

    /// Its number in the registry of data types (RFC 5610 section 3.1, RFC 9740).
    pub const fn code(self) -> u8 {
        match self {
            Self::OctetArray => 0,
            Self::Unsigned8 => 1,
            Self::Unsigned16 => 2,
            Self::Unsigned32 => 3,
            Self::Unsigned64 => 4,
            Self::Float64 => 10,
            Self::MacAddress => 12,
            Self::String => 13,
            Self::DateTimeSeconds => 14,
            Self::DateTimeMilliseconds => 15,
            Self::Ipv4Address => 18,
            Self::Ipv6Address => 19,
            Self::Unsigned256 => 23,
        }
    }
}

/// Whose numbers an element's id is one of (RFC 7011 section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum NumberSpace {
    /// IANA's registry.
    Iana,
    /// The registry's element, of the packets from destination to source: enterprise 29305 (RFC 5103
    /// section 6.1).
    Reverse,
    /// This exporter's own, under the enterprise number that the operator gives.
    Own,
}

/// An Information Element (RFC 7012).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InformationElement {
    id: u16,
    name: &'static str,
    data_type: DataType,
    space: NumberSpace,
}

impl InformationElement {
    pub(super) const fn new(id: u16, name: &'static str, data_type: DataType, space: NumberSpace) -> Self {
        Self { id, name, data_type, space }
    }

    /// Element ID; in v9 the field type.
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// Its name in the registry's spelling; `reverse` stands before that of a reverse element.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its abstract data type.
    pub const fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Whose number its id is.
    pub const fn space(&self) -> NumberSpace {
        self.space
    }
}

/// Declares elements of one number space, and the list of them all.
macro_rules! elements {
    ($(#[$doc:meta])* $list:ident $space:ident
     $($constant:ident = $id:literal $name:literal $data_type:ident;)*) => {
        impl $crate::message::InformationElement {
            $(
                #[doc = concat!($name, ", ", stringify!($id))]
                pub const $constant: Self = Self::new(
                    $id,
                    $name,
                    $crate::message::DataType::$data_type,
                    $crate::message::NumberSpace::$space,
                );
            )*

            $(#[$doc])*
            pub const $list: &[Self] = &[$(Self::$constant),*];
        }
    };
}
pub(super) use elements;
